package mailnode

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/mailstore"
)

// world is two replicas of an account, whose operations and time go on when the
// test says so.
type world struct {
	t     *testing.T
	rand  *rand.Rand
	now   atomic.Int64 // Unix milliseconds
	nodes []*mailstore.Replica
	ended sync.WaitGroup
	log   []string
}

func newWorld(t *testing.T, seed uint64) *world {
	return newWorldAt(t, seed, 1_800_000_000_000, '.')
}

// newWorldAt is newWorld at a time in Unix milliseconds, with a separator of levels.
func newWorldAt(t *testing.T, seed uint64, now int64, separator byte) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0))}
	w.now.Store(now)
	for slot := range 2 {
		store, err := mailstore.Open("data", mailstore.Options{FS: vfs.NewMem(), MinFree: -1, CacheSize: 4 << 20, MemTableSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		r, err := store.Replica(mailstore.ReplicaOptions{
			Subnet: "s", Slot: crdt.Slot(slot + 1), Leader: slot == 0, Rank: slot, Separator: separator, ManualTicks: true,
			Now: func() time.Time { return time.UnixMilli(w.now.Load()) },
		})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, r)
	}
	t.Cleanup(w.ended.Wait)
	return w
}

func (w *world) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

// fail ends the test with the script of what happened.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// wait lets time pass at both replicas.
func (w *world) wait(ms int64) {
	w.now.Add(ms)
	for _, r := range w.nodes {
		r.Tick()
	}
}

// pull gives a replica what it lacks of the other's operations, and a sign of life.
func (w *world) pull(to, from *mailstore.Replica) bool {
	clock, applied := from.Clock(), from.Logged()
	moved := false
	for progress := true; progress; {
		progress = false
		for o, last := range from.Logged().All() {
			next := to.Logged().Get(o) + 1
			if next > last {
				continue
			}
			entries, err := from.Read(o, next, 1000)
			if err != nil {
				w.fail("read: %v", err)
			}
			for _, e := range entries {
				if !e.Deps.LessEqual(to.Logged()) {
					break
				}
				w.pullBodies(to, from, e.Bodies)
				if err := to.Apply(context.Background(), []causal.Entry{e}); err != nil {
					w.fail("apply: %v", err)
				}
				progress, moved = true, true
			}
		}
	}
	to.Heard(from.Origin(), clock, applied)
	return moved
}

func (w *world) pullBodies(to, from *mailstore.Replica, roots []crdt.Root) {
	for _, root := range roots {
		for i, last := 0, false; !last; i++ {
			data, end, err := from.BodyChunk(root, i)
			if err == nil {
				err = to.PutBodyChunk(root, i, data, end)
			}
			if err != nil {
				w.fail("body: %v", err)
			}
			last = end
		}
	}
}

// settle exchanges everything until nothing more happens.
func (w *world) settle() {
	for quiet := 0; quiet < 5; {
		moved := w.pull(w.nodes[0], w.nodes[1])
		moved = w.pull(w.nodes[1], w.nodes[0]) || moved
		if w.wait(5000); !moved {
			quiet++
		} else {
			quiet = 0
		}
	}
}

// dial opens a session at a replica.
func (w *world) dial(node int) *imaptest.Client {
	client, conn := net.Pipe()
	var id imap.SessionID
	for i := range id {
		id[i] = byte(w.rand.Uint32())
	}
	a, err := openAccount(w.t.Context(), w.nodes[node], 7, "user7", id)
	if err != nil {
		w.fail("open: %v", err)
	}
	w.ended.Add(1)
	go func() {
		defer w.ended.Done()
		defer a.Close()
		defer conn.Close()
		imap.Serve(w.t.Context(), imaptest.NewConn(conn), a, imap.Options{Separator: '.'}) // its end is the client's
	}()
	return imaptest.NewClient(w.t, client)
}

// command executes a command that must succeed.
func (w *world) command(c *imaptest.Client, text string) []string {
	w.t.Helper()
	lines := c.Command("w", text)
	if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "w OK") {
		w.fail("%s: %q", text, lines)
	}
	return lines
}

// truth returns what a new session is shown at a replica: flags by UID.
func (w *world) truth(node int) map[uint32]string {
	c := w.dial(node)
	defer c.Close()
	w.command(c, "EXAMINE INBOX")
	rows := map[uint32]string{}
	for _, line := range w.command(c, "UID FETCH 1:* FLAGS") {
		if m := fetchLine.FindStringSubmatch(line); m != nil {
			uid, _ := strconv.ParseUint(m[2], 10, 32)
			rows[uint32(uid)] = flagsOf(line)
		}
	}
	return rows
}

var (
	fetchLine    = regexp.MustCompile(`^\* (\d+) FETCH \(UID (\d+)`)
	flagList     = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	modSeqItem   = regexp.MustCompile(`MODSEQ \((\d+)\)`)
	highestCode  = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	validityCode = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	existsLine   = regexp.MustCompile(`^\* (\d+) EXISTS`)
	vanishedLine = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?([\d:,]+)$`)
)

// flagsOf returns the flags in a FETCH response, sorted, without \Recent.
func flagsOf(line string) string {
	flags := strings.Fields(flagList.FindStringSubmatch(line)[1])
	flags = slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` })
	slices.Sort(flags)
	return strings.Join(flags, " ")
}

// roamer is a client with QRESYNC that keeps what it was told and goes from replica
// to replica. It follows RFC 7162 section 6 to the letter.
type roamer struct {
	w        *world
	name     string
	validity string
	modSeq   uint64 // HIGHESTMODSEQ as it knows it
	rows     map[uint32]string
	next     uint32 // up to this UID it has fetched all

	client    *imaptest.Client // nil: not connected
	node      int
	selecting bool     // numbers are not known yet
	order     []uint32 // UIDs by message number
	exists    int
	silent    uint32 // the message of a STORE with .SILENT, until its flags are told
	code      uint64 // HIGHESTMODSEQ in the answer
	high      uint64 // highest MODSEQ in the answer
}

// connect selects the mailbox at a replica, which has all that the client saw
// elsewhere (crdt.md 4.3, read barrier), and gets what is new.
func (c *roamer) connect(node int) {
	if c.node != node {
		c.w.note("%s goes to %d", c.name, node)
		c.w.pull(c.w.nodes[node], c.w.nodes[c.node])
	}
	c.node, c.client = node, c.w.dial(node)
	c.w.command(c.client, "ENABLE QRESYNC")
	c.order, c.exists = nil, 0
	selecting := "SELECT INBOX"
	if c.validity != "" {
		selecting += fmt.Sprintf(" (QRESYNC (%s %d%s))", c.validity, c.modSeq, c.known())
	}
	c.selecting = true
	c.do(selecting)
	c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS)", c.next+1))
	c.selecting = false
	c.order = slices.Sorted(maps.Keys(c.rows))
	c.fetchNew()
}

// last returns the highest UID of the session's messages that it knows.
func (c *roamer) last() uint32 {
	if len(c.order) == 0 {
		return 0
	}
	return c.order[len(c.order)-1]
}

// known returns the optional parameters of QRESYNC, sometimes.
func (c *roamer) known() string {
	if len(c.rows) == 0 || c.w.rand.IntN(3) == 0 {
		return ""
	}
	uids := slices.Sorted(maps.Keys(c.rows))
	if c.w.rand.IntN(2) == 0 {
		return " " + setOf(uids)
	}
	var numbers, match []uint32
	for i, uid := range uids {
		if c.w.rand.IntN(3) == 0 {
			numbers, match = append(numbers, uint32(i+1)), append(match, uid)
		}
	}
	if len(match) == 0 {
		return " " + setOf(uids)
	}
	return fmt.Sprintf(" %s (%s %s)", setOf(uids), setOf(numbers), setOf(match))
}

func setOf(nums []uint32) string {
	var parts []string
	for i := 0; i < len(nums); {
		j := i
		for j+1 < len(nums) && nums[j+1] == nums[j]+1 {
			j++
		}
		parts = append(parts, fmt.Sprintf("%d:%d", nums[i], nums[j]))
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// fetchNew gets the messages above those that the client knows. Then it knows all
// that EXISTS has counted.
func (c *roamer) fetchNew() {
	for again := c.w.rand.IntN(4) == 0; again || c.exists > len(c.order); again = false {
		c.do(fmt.Sprintf("UID FETCH %d:* (FLAGS)", c.last()+1))
	}
	c.next = c.last()
	if c.exists != len(c.order) || len(c.rows) != len(c.order) {
		c.w.fail("%s: %d messages exist, it knows %d, %v", c.name, c.exists, len(c.rows), c.order)
	}
}

// do executes a command and takes in the answer.
func (c *roamer) do(text string) {
	c.w.note("%s at %d: %s", c.name, c.node, text)
	c.silent = 0
	if m := silentStore.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		c.silent = c.order[n-1]
	}
	for _, line := range c.w.command(c.client, text) {
		c.take(line)
	}
	if c.silent != 0 { // the flags are what the client must expect
		c.rows[c.silent] = withFlag(c.rows[c.silent], `\Flagged`)
	}
	c.settleModSeq()
}

var silentStore = regexp.MustCompile(`^STORE (\d+) \+FLAGS\.SILENT`)

func withFlag(flags, flag string) string {
	all := append(strings.Fields(flags), flag)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// cut sends a command, takes in some lines of the answer, and the connection breaks.
func (c *roamer) cut(text string) {
	lines := c.w.command(c.client, text)
	n := c.w.rand.IntN(len(lines))
	c.w.note("%s at %d: %s, cut after %d lines", c.name, c.node, text, n)
	for _, line := range lines[:n] {
		c.take(line)
	}
	c.code, c.high = 0, 0
	c.disconnect()
}

func (c *roamer) disconnect() {
	if c.client != nil {
		c.w.note("%s at %d: gone, MODSEQ %d", c.name, c.node, c.modSeq)
		c.client.Close()
		c.client = nil
	}
}

// settleModSeq is what a client does at a tagged response.
func (c *roamer) settleModSeq() {
	if c.code != 0 {
		c.modSeq = c.code
	} else {
		c.modSeq = max(c.modSeq, c.high)
	}
	c.code, c.high = 0, 0
}

func (c *roamer) take(line string) {
	c.w.note("    %s", line)
	if m := highestCode.FindStringSubmatch(line); m != nil {
		c.code, _ = strconv.ParseUint(m[1], 10, 64)
	}
	if m := validityCode.FindStringSubmatch(line); m != nil {
		if c.validity != m[1] {
			c.validity, c.rows = m[1], map[uint32]string{}
		}
	}
	if m := existsLine.FindStringSubmatch(line); m != nil {
		c.exists, _ = strconv.Atoi(m[1])
	}
	if strings.Contains(line, " EXPUNGE") && !strings.Contains(line, "completed") {
		c.w.fail("%s was told %s", c.name, line)
	}
	if m := vanishedLine.FindStringSubmatch(line); m != nil {
		c.vanish(m[2], m[1] != "")
	}
	if m := fetchLine.FindStringSubmatch(line); m != nil {
		c.fetched(line, m)
	}
}

// vanish drops UIDs. Without EARLIER all of them are messages of the session.
func (c *roamer) vanish(set string, earlier bool) {
	for _, part := range strings.Split(set, ",") {
		first, last, ok := strings.Cut(part, ":")
		if !ok {
			last = first
		}
		from, _ := strconv.ParseUint(first, 10, 32)
		to, _ := strconv.ParseUint(last, 10, 32)
		for _, uid := range slices.Sorted(maps.Keys(c.rows)) {
			if uint64(uid) >= from && uint64(uid) <= to {
				delete(c.rows, uid)
			}
		}
		if earlier {
			continue
		}
		for uid := from; uid <= to; uid++ {
			i := slices.Index(c.order, uint32(uid))
			if i < 0 {
				c.w.fail("%s: VANISHED %d, which is no message of the session", c.name, uid)
			}
			c.order = slices.Delete(c.order, i, i+1)
			c.exists--
		}
	}
}

func (c *roamer) fetched(line string, m []string) {
	n, _ := strconv.Atoi(m[1])
	number, _ := strconv.ParseUint(m[2], 10, 32)
	uid := uint32(number)
	if n == len(c.order)+1 && !c.selecting {
		c.order = append(c.order, uid)
	}
	if n > c.exists || !c.selecting && (n > len(c.order) || c.order[n-1] != uid) {
		c.w.fail("%s: %s, but it has %v of %d", c.name, line, c.order, c.exists)
	}
	if flagList.MatchString(line) {
		c.rows[uid] = flagsOf(line)
		if uid == c.silent {
			c.silent = 0
		}
	}
	if mod := modSeqItem.FindStringSubmatch(line); mod != nil {
		v, _ := strconv.ParseUint(mod[1], 10, 64)
		c.high = max(c.high, v)
	}
}

// act lets the client do something.
func (c *roamer) act() {
	if c.client == nil {
		c.connect(c.w.rand.IntN(len(c.w.nodes)))
		return
	}
	text := c.randomCommand()
	switch c.w.rand.IntN(8) {
	case 0:
		c.cut(text)
	case 1:
		c.do(text)
		c.disconnect()
	default:
		c.do(text)
		c.fetchNew()
	}
}

func (c *roamer) randomCommand() string {
	n := len(c.order)
	if n == 0 {
		return "NOOP"
	}
	i := 1 + c.w.rand.IntN(n)
	switch c.w.rand.IntN(8) {
	case 0:
		return fmt.Sprintf(`STORE %d +FLAGS.SILENT (\Flagged)`, i)
	case 1:
		return fmt.Sprintf(`STORE %d -FLAGS (\Flagged)`, i)
	case 2:
		return fmt.Sprintf(`UID STORE %d (UNCHANGEDSINCE %d) FLAGS (\Draft)`, c.order[i-1], c.modSeq)
	case 3:
		return fmt.Sprintf(`UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)`, max(c.modSeq, 1))
	case 4:
		return fmt.Sprintf(`FETCH %d (FLAGS)`, i)
	case 5:
		return fmt.Sprintf(`UID EXPUNGE %d`, c.order[i-1])
	case 6:
		return `SEARCH UNSEEN`
	default:
		return "NOOP"
	}
}

// write changes the mailbox at a replica as a client does that knows nothing of this.
func (w *world) write(c *imaptest.Client, node int) {
	text := []string{
		`STORE * +FLAGS (\Seen)`, `STORE 1 -FLAGS (\Seen)`, `STORE 1:* +FLAGS ($Work)`, `STORE 1 +FLAGS.SILENT (\Deleted)`,
		`STORE * +FLAGS.SILENT (\Deleted)`, `EXPUNGE`, `NOOP`, `EXPUNGE`,
	}[w.rand.IntN(8)]
	if w.rand.IntN(3) == 0 {
		text = "APPEND INBOX {15+}\r\nSubject: 12345\r"
	}
	w.note("writer at %d: %.30s", node, text)
	lines := c.Command("w", text)
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "w OK") && !strings.HasPrefix(last, "w BAD No message") {
		w.fail("%s: %s", text, last)
	}
}

func (w *world) writer(node int) *imaptest.Client {
	c := w.dial(node)
	w.command(c, "SELECT INBOX")
	return c
}

// TestQResyncClientsRoam (in PLUTO_SOAK_ROAMS runs) lets clients with QRESYNC go between two replicas that are
// written to, in the middle of commands too: at any replica that has all, they have
// exactly what it shows.
func TestQResyncClientsRoam(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("PLUTO_SOAK_ROAMS"))
	if err != nil {
		runs = 5
	}
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { roam(newWorld(t, seed), 120) })
	}
}

func roam(w *world, steps int) {
	writers := []*imaptest.Client{w.writer(0), w.writer(1)}
	clients := []*roamer{{w: w, name: "A"}, {w: w, name: "B"}}
	for range steps {
		switch k := w.rand.IntN(10); {
		case k < 4:
			clients[w.rand.IntN(len(clients))].act()
		case k < 7:
			node := w.rand.IntN(len(writers))
			w.write(writers[node], node)
		case k < 9:
			to := w.rand.IntN(len(w.nodes))
			w.note("replica %d hears of the other", to)
			w.pull(w.nodes[to], w.nodes[1-to])
		default:
			w.wait(w.rand.Int64N(int64(10 * time.Minute / time.Millisecond)))
		}
		w.wait(1 + w.rand.Int64N(2000))
	}
	w.settle()
	for _, c := range clients {
		if c.client != nil {
			c.do("NOOP")
			c.fetchNew()
		}
		for range 2 {
			for node := range w.nodes {
				c.disconnect()
				c.connect(node)
				if truth := w.truth(node); !maps.Equal(c.rows, truth) {
					w.fail("%s at %d has %v\nwhat is there: %v", c.name, node, c.rows, truth)
				}
			}
		}
	}
}
