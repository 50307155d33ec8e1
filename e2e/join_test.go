package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// joinMessages is how many messages there are when a third region comes:
// $PLUTO_E2E_MESSAGES, or few.
func joinMessages(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PLUTO_E2E_MESSAGES")
	if text == "" {
		return 400
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PLUTO_E2E_MESSAGES: %v", err)
	}
	return n
}

// joinUsers are those whose mailboxes are filled.
const joinUsers = 8

// TestThirdRegionJoins adds a region to a system that has mail, and whose logs do
// not reach back to its beginning. The new member has an empty disk; it loads what
// there is while a client works elsewhere, and serves when it has it.
func TestThirdRegionJoins(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	total := joinMessages(t)
	fill(t, c, total, 50)
	for _, n := range []*cluster.Node{c.Storage, c.US.Worker, c.EU.Worker} {
		until(t, timeout(t, time.Minute), "a cut log at "+n.Name, func() (bool, error) {
			return metric(t, n, "pluto_log_bytes") < 10000, nil
		})
	}
	ap, err := c.AddRegion(timeout(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*cluster.Node{c.Storage, c.US.Worker, c.EU.Worker} {
		stop := timeout(t, time.Minute)
		if err := n.Stop(stop); err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		if err := n.Await(timeout(t, readyTime)); err != nil {
			t.Fatal(err)
		}
	}
	stop := busyClient(t, c)
	began := time.Now()
	for _, n := range []*cluster.Node{ap.Worker, ap.Distributor} {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	limit := readyTime + time.Duration(total)*time.Millisecond*2
	for _, n := range []*cluster.Node{ap.Worker, ap.Distributor} {
		if err := n.Await(timeout(t, limit)); err != nil {
			t.Fatal(err)
		}
	}
	ready := time.Since(began)
	until(t, timeout(t, limit), "all contents at "+ap.Name, func() (bool, error) {
		log, err := ap.Worker.Log()
		return contentsHere.MatchString(log), err
	})
	whole := time.Since(began)
	commands := stop()
	t.Logf("%d messages: ready after %s, all contents there after %s; a client did %d commands meanwhile",
		total, ready.Round(time.Millisecond), whole.Round(time.Millisecond), commands)
	if metric(t, ap.Worker, "pluto_snapshot_loaded_bytes_total") == 0 {
		t.Error("nothing was loaded: it came from the log")
	}
	want, err := counts(t, c, c.EU)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := counts(t, c, ap); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s has %v messages, eu %v (%v)", ap.Name, got, want, err)
	}
	for _, r := range []*cluster.Region{c.EU, c.US, ap} {
		worksSoon(t, c, r, userBystander)
	}
}

var contentsHere = regexp.MustCompile(`all contents are here`)

// fill stores messages at eu, so many with one command.
func fill(t *testing.T, c *cluster.Cluster, total, batch int) {
	t.Helper()
	errs := make(chan error)
	for user := 1; user <= joinUsers; user++ {
		go func() { errs <- fillUser(t.Context(), target(t, c, c.EU), user, total/joinUsers, batch) }()
	}
	for range joinUsers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

func fillUser(ctx context.Context, target bench.Target, user, count, batch int) error {
	conn, err := target.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	name, password := cluster.User(user)
	if err := conn.Login(name, password); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(uint64(user), 1))
	for done := 0; done < count; {
		var messages [][]byte
		for range min(count-done, batch) {
			messages = append(messages, bench.OpodisMessage(rng, bench.Lines{Min: 10, Max: 60, Length: 70}))
		}
		if _, err := conn.AppendMulti("INBOX", "", messages, true); err != nil {
			return fmt.Errorf("fill user %d: %w", user, err)
		}
		done += len(messages)
	}
	return nil
}

// busyClient has a client store, flag, read and remove messages at eu until the
// returned function is called, which says how many commands there were. An error
// of any fails the test.
func busyClient(t *testing.T, c *cluster.Cluster) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	commands := 0
	conn := dialUser(t, c, c.EU, userBasics+joinUsers)
	go func() {
		for ctx.Err() == nil {
			if err := clientRound(conn); err != nil {
				result <- err
				return
			}
			commands += 5
		}
		result <- nil
	}()
	return func() int {
		t.Helper()
		cancel()
		if err := <-result; err != nil {
			t.Errorf("a client at eu: %v", err)
		}
		return commands
	}
}

func clientRound(conn *imapc.Conn) error {
	uid, err := conn.Append("INBOX", "", []byte(firstMail), false)
	if err != nil {
		return err
	}
	if err := conn.Select("INBOX"); err != nil {
		return err
	}
	for _, cmd := range []string{"UID FETCH %d (FLAGS BODY.PEEK[])", `UID STORE %d +FLAGS (\Deleted)`, "UID EXPUNGE %d"} {
		if _, err := conn.Do(fmt.Sprintf(cmd, uid.UID), nil); err != nil {
			return err
		}
	}
	return nil
}

// counts returns how many messages the filled mailboxes show.
func counts(t *testing.T, c *cluster.Cluster, r *cluster.Region) (list []string, err error) {
	t.Helper()
	for user := 1; user <= joinUsers; user++ {
		conn := dialUser(t, c, r, user)
		_, err := conn.Do("STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)", func(r *imapc.Response) {
			if r.Name == "STATUS" {
				list = append(list, string(r.Rest))
			}
		})
		conn.Close()
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// metric returns the sum of a node's metric over its labels.
func metric(t *testing.T, n *cluster.Node, name string) (sum float64) {
	t.Helper()
	text, err := n.Metrics(timeout(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? (\S+)$`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// TestReturnBehindTheLog keeps a worker away until the logs of the others no
// longer reach back to it, with load on both sides of its return.
func TestReturnBehindTheLog(t *testing.T) {
	c := ownCluster(t, cluster.Options{Replication: `LogMaxSize = "128KiB"`})
	fill(t, c, joinUsers*2, 1)
	if err := c.US.Worker.Stop(timeout(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	fill(t, c, joinUsers*200, 1)
	until(t, timeout(t, time.Minute), "a cut log", func() (bool, error) {
		log, err := c.EU.Worker.Log()
		return regexp.MustCompile("the log is cut because of its size").MatchString(log), err
	})
	// What was cut from the disk a moment ago it may still give from memory.
	do(t, "stop", c.EU.Worker.Stop(timeout(t, time.Minute)))
	do(t, "start", c.EU.Worker.Restart(timeout(t, readyTime)))
	stop := busyClient(t, c)
	if err := c.US.Worker.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.US.Worker.Await(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	until(t, timeout(t, 20*time.Second), "all contents at us", func() (bool, error) {
		log, err := c.US.Worker.Log()
		return contentsHere.MatchString(log), err
	})
	stop()
	until(t, timeout(t, time.Minute), "the same everywhere", func() (bool, error) {
		want, err := counts(t, c, c.EU)
		if err != nil {
			return false, err
		}
		got, err := counts(t, c, c.US)
		return slices.Equal(got, want), err
	})
	both(t, c, func(t *testing.T, r *cluster.Region) { worksSoon(t, c, r, userBystander) })
}
