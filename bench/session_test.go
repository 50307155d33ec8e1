package bench

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func testRNG() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func TestDrawsSumUp(t *testing.T) {
	for state, row := range draws {
		sum := 0
		for _, p := range row {
			sum += p
		}
		if sum != 100 {
			t.Errorf("state %d: probabilities sum up to %d", state, sum)
		}
	}
}

// TestMixIsThePapers runs the model as often as the paper did and compares the
// mix that comes out with the published one.
func TestMixIsThePapers(t *testing.T) {
	want := [numOps]float64{OpCreate: 22.9, OpDelete: 11.9, OpAppend: 23.4, OpStore: 13.2, OpExpunge: 10.0, OpSelect: 18.6}
	const sessions, tolerance = 5000, 1.0 // percentage points
	rng := testRNG()
	o := OpodisDefaults()
	var n [numOps]int
	total := 0
	for range sessions {
		s := NewSession(rng, "1X", ReplaceOnly)
		length := Length(rng, o.Base, o.Spread)
		if length < 15 || length > 39 {
			t.Fatalf("session of %d commands", length)
		}
		for range length {
			n[s.Next().Op]++
		}
		n[OpSelect]++ // of INBOX, at the end
		total += length + 1
	}
	for op, w := range want {
		if got := 100 * float64(n[op]) / float64(total); math.Abs(got-w) > tolerance {
			t.Errorf("%s is %.1f %% of the commands, want %.1f", Op(op), got, w)
		}
	}
}

// shadow is a mail store as a server would have it; it checks that the model
// asks for nothing impossible.
type shadow struct {
	folders  map[string][]bool
	selected string
}

func TestSessionIsPossible(t *testing.T) {
	rng := testRNG()
	storeItem := regexp.MustCompile(`^[+-]?FLAGS \((\\[A-Z][a-z]+ ?){1,5}\)$`)
	for range 500 {
		s := NewSession(rng, "7X", AllForms)
		sh := shadow{folders: map[string][]bool{}}
		for range 60 {
			st := s.Next()
			_, there := sh.folders[st.Mailbox]
			switch st.Op {
			case OpCreate:
				if there || len(st.Mailbox) != len("7X")+8 {
					t.Fatalf("CREATE %q", st.Mailbox)
				}
				sh.folders[st.Mailbox] = nil
			case OpDelete:
				if !there || st.Mailbox == sh.selected {
					t.Fatalf("DELETE %q, there: %v, selected: %q", st.Mailbox, there, sh.selected)
				}
				delete(sh.folders, st.Mailbox)
			case OpAppend:
				if !there {
					t.Fatalf("APPEND to %q", st.Mailbox)
				}
				sh.folders[st.Mailbox] = append(sh.folders[st.Mailbox], false)
			case OpSelect:
				if !there {
					t.Fatalf("SELECT %q", st.Mailbox)
				}
				sh.selected = st.Mailbox
			case OpStore:
				sh.store(t, st, storeItem)
			case OpExpunge:
				sh.folders[sh.selected] = slices.DeleteFunc(sh.folders[sh.selected], func(d bool) bool { return d })
			}
		}
	}
}

func (sh *shadow) store(t *testing.T, st Step, item *regexp.Regexp) {
	t.Helper()
	m := sh.folders[sh.selected]
	if st.Seq < 1 || st.Seq > len(m) || !item.MatchString(st.Store) {
		t.Fatalf("STORE %d %s, there are %d", st.Seq, st.Store, len(m))
	}
	names := strings.Fields(st.Store[strings.Index(st.Store, "(")+1 : len(st.Store)-1])
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Fatalf("a flag twice: %s", st.Store)
	}
	has := slices.Contains(names, `\Deleted`)
	switch st.Store[0] {
	case '+':
		m[st.Seq-1] = m[st.Seq-1] || has
	case '-':
		m[st.Seq-1] = m[st.Seq-1] && !has
	default:
		m[st.Seq-1] = has
	}
}

func TestOpodisMessage(t *testing.T) {
	rng := testRNG()
	lines := OpodisDefaults().Lines
	var sizes []int
	for range 2000 {
		m := OpodisMessage(rng, lines)
		head, body, _ := bytes.Cut(m, []byte("\r\n\r\n"))
		if n := len(head) + 4; n < 250 || n > 300 {
			t.Fatalf("header of %d bytes", n)
		}
		if _, err := mail.ReadMessage(bytes.NewReader(m)); err != nil {
			t.Fatal(err)
		}
		ls := strings.Split(strings.TrimSuffix(string(body), "\r\n"), "\r\n")
		if len(ls) < 10 || len(ls) > 512 {
			t.Fatalf("%d lines", len(ls))
		}
		for _, l := range ls {
			if len(l) != 64 || strings.Trim(l, nameAlphabet) != "" {
				t.Fatalf("line %q", l)
			}
		}
		sizes = append(sizes, len(m))
	}
	slices.Sort(sizes)
	if m := sizes[len(sizes)/2]; m < 16500 || m > 18500 {
		t.Errorf("median size %d, the paper has 17.5 kB", m)
	}
	if m := sizes[len(sizes)-1]; m < 33000 || m > 34500 {
		t.Errorf("largest size %d, the paper has 34 kB", m)
	}
}

func TestMessages(t *testing.T) {
	o := Options{Seed: 1, Size: MessageSize{Median: 8 << 10, Sigma: 1.2, Cap: 1 << 20}}
	a, b := o.messages(3), o.messages(3)
	var sizes []int
	for range 1500 {
		m := a.next("X-Further: yes\r\n")
		if !bytes.Equal(m, b.next("X-Further: yes\r\n")) {
			t.Fatal("the same seed gave another message")
		}
		sizes = append(sizes, len(m))
		checkGenerated(t, m)
	}
	slices.Sort(sizes)
	if m := sizes[len(sizes)/2]; m < 7000 || m > 9500 {
		t.Errorf("median %d", m)
	}
	if m := sizes[len(sizes)-1]; m > 1<<20+4096 {
		t.Errorf("max %d", m)
	}
	m := a.next("")
	m[len(m)-5] ^= 1
	if checkMessage(m) == nil {
		t.Error("damage not seen")
	}
}

func checkGenerated(t *testing.T, m []byte) {
	t.Helper()
	if err := checkMessage(m); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(bytes.ReplaceAll(m, []byte("\r\n"), nil), []byte("\n")) {
		t.Fatal("bare newline")
	}
	p, err := mail.ReadMessage(bytes.NewReader(m))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Header.Date(); err != nil {
		t.Fatal(err)
	}
	if p.Header.Get("X-Further") != "yes" {
		t.Fatal("further header is missing")
	}
	ct, params, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(ct, "multipart/") {
		return
	}
	r, n := multipart.NewReader(p.Body, params["boundary"]), 0
	for ; ; n++ {
		part, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			t.Fatal(err)
		}
	}
	if n != 2 {
		t.Fatalf("%d parts", n)
	}
}

func TestPercentile(t *testing.T) {
	var l []time.Duration
	for i := 1; i <= 100; i++ {
		l = append(l, time.Duration(i))
	}
	for p, want := range map[float64]time.Duration{50: 50, 95: 95, 99: 99, 100: 100, 0: 1} {
		if got := percentile(l, p); got != want {
			t.Errorf("percentile %v is %d", p, got)
		}
	}
	if percentile(nil, 50) != 0 || percentile(l[:1], 99) != 1 {
		t.Error("edge cases")
	}
}

func TestParseMix(t *testing.T) {
	for _, good := range append(MixNames()[1:], "APPEND=10,store=5.5") {
		m, err := ParseMix(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		if _, err := newPicker(m); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "nonsense", "APPEND", "APPEND=x", "EXPLODE=1", "APPEND=-1", "APPEND=0", "APPEND=NaN"} {
		m, err := ParseMix(bad)
		if err == nil {
			_, err = newPicker(m)
		}
		if err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestPickerFollowsWeights(t *testing.T) {
	p, err := newPicker(Mix{"NOOP": 1, "LIST": 3, "SELECT": 0})
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	rng := testRNG()
	for range 4000 {
		n[p.pick(rng)]++
	}
	if n["LIST"] < 2850 || n["LIST"] > 3150 || n["SELECT"] != 0 || n["NOOP"]+n["LIST"] != 4000 {
		t.Errorf("%v", n)
	}
}
