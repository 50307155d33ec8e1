package mailstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// writerDir is set for the process that TestKill starts: itself, as a writer.
const writerDir = "PLUTO_TEST_MAILSTORE_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		if err := killedWriter(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const killedClients = 4

// killedWriter appends and changes mail until it is killed, and says on
// standard output what was acknowledged, a line each.
func killedWriter(dir string) error {
	store, err := Open(dir, Options{MinFree: -1, MemTableSize: 512 << 10})
	if err != nil {
		return err
	}
	r, err := store.Replica(testReplica(1))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, killedClients)
	for i := range killedClients {
		wg.Go(func() { errs <- killedClient(r, i) })
	}
	return <-errs
}

func killedClient(r *Replica, i int) error {
	ctx := context.Background()
	s, err := r.Open(ctx, crdt.AccountID(i%2), fmt.Sprint("user", i%2), newSessionID())
	if err != nil {
		return err
	}
	box := fmt.Sprint("box", i)
	if err := s.Create(ctx, box, ""); err != nil && !errors.Is(err, ErrAlreadyExists) {
		return err
	}
	m, err := s.Select(ctx, box, false)
	if err != nil {
		return err
	}
	for k := 0; ; k++ {
		content := fmt.Sprintf("%d-%d-%d", os.Getpid(), i, k)
		body := content + "\n"
		if k%7 == 0 {
			body += strings.Repeat("x", 2*chunkSize)
		}
		uid, err := tryAppend(ctx, s, box, body)
		if err != nil {
			return err
		}
		fmt.Println("append", i, uid, content)
		v := m.View()
		j, _ := v.Find(uid)
		var msg Message
		v.At(j, &msg)
		if _, _, err := m.Store(ctx, []crdt.Tag{msg.Tag}, FlagChange{Op: crdt.StoreAdd, Flags: Seen}); err != nil {
			return err
		}
		fmt.Println("seen", i, uid, content)
		if k%5 == 4 {
			if err := expunge(ctx, m, []crdt.Tag{msg.Tag}); err != nil {
				return err
			}
			fmt.Println("expunge", i, uid, content)
		}
	}
}

// killedMail is what the parent knows of one message.
type killedMail struct {
	uid           crdt.UID
	seen, expunge bool
}

// TestKill kills a process that writes, again and again, and looks each time
// whether everything that it had acknowledged is on the disk.
func TestKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewSource(1))
	known := make([]map[string]killedMail, killedClients)
	for i := range known {
		known[i] = make(map[string]killedMail)
	}
	for round := range rounds {
		killRound(t, dir, 1+rng.Intn(120), known)
		checkKilled(t, dir, known)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// killRound starts a writer and kills it when it has said `lines` lines.
func killRound(t *testing.T, dir string, lines int, known []map[string]killedMail) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	n := 0
	for scan.Scan() {
		if n++; n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		note(t, scan.Text(), known)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Errorf("the writer was not killed: %v", err)
	}
}

func note(t *testing.T, line string, known []map[string]killedMail) {
	var what, content string
	var i int
	var uid crdt.UID
	if k, _ := fmt.Sscan(line, &what, &i, &uid, &content); k < 4 {
		return // cut off by the kill
	}
	m := known[i][content]
	if m.uid != 0 && m.uid != uid {
		t.Errorf("%q has UID %d and UID %d", content, m.uid, uid)
	}
	m.uid = uid
	m.seen = m.seen || what == "seen"
	m.expunge = m.expunge || what == "expunge"
	known[i][content] = m
}

func checkKilled(t *testing.T, dir string, known []map[string]killedMail) {
	store, err := Open(dir, Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r, err := store.Replica(testReplica(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range known {
		if err := checkKilledBox(r, i, known[i]); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	for user := range crdt.AccountID(2) {
		if err := r.Audit(user); err != nil {
			t.Errorf("audit: %v", err)
		}
	}
}

func checkKilledBox(r *Replica, i int, known map[string]killedMail) error {
	ctx := context.Background()
	s, err := r.Open(ctx, crdt.AccountID(i%2), fmt.Sprint("user", i%2), newSessionID())
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := s.Select(ctx, fmt.Sprint("box", i), true)
	if errors.Is(err, ErrNonexistent) && len(known) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	w := crashWriter{uids: map[string]crdt.UID{}}
	for content, mail := range known {
		w.uids[content] = mail.uid
	}
	state, _, err := w.read(s, m)
	if err != nil {
		return err
	}
	v := m.View()
	for content, mail := range known {
		flags, there := state[content]
		switch {
		case mail.expunge && there:
			return fmt.Errorf("%q was expunged and is there", content)
		case !mail.expunge && !there && !mail.seen, mail.seen && !mail.expunge && !there && !expungeable(content):
			return fmt.Errorf("%q was acknowledged and is not there", content)
		case there && mail.seen && flags&Seen == 0:
			return fmt.Errorf("%q was marked seen and is not", content)
		case v.UIDNext() <= mail.uid:
			return fmt.Errorf("UIDNEXT is %d, UID %d was given", v.UIDNext(), mail.uid)
		}
	}
	return nil
}

// expungeable reports whether the writer was about to expunge the message.
func expungeable(content string) bool {
	var pid, i, k int
	fmt.Sscanf(content, "%d-%d-%d", &pid, &i, &k)
	return k%5 == 4
}
