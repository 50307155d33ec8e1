package imap_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
)

// followed is what a client makes of the updates of a search (RFC 5267 section 4.3).
type followed struct{ uids []int }

var updateItem = regexp.MustCompile(`(ADDTO|REMOVEFROM) \(([^)]*)\)`)

func (f *followed) apply(t *testing.T, line string) {
	t.Helper()
	for _, item := range updateItem.FindAllStringSubmatch(line, -1) {
		words := strings.Fields(item[2])
		for k := 0; k < len(words); k += 2 {
			position, _ := strconv.Atoi(words[k])
			uids := setOf(words[k+1])
			switch {
			case item[1] == "ADDTO" && position > 0:
				f.uids = slices.Insert(f.uids, position-1, uids...)
			case item[1] == "ADDTO":
				f.uids = append(f.uids, uids...)
				slices.Sort(f.uids)
			case position > 0:
				if got := f.uids[position-1 : position-1+len(uids)]; !slices.Equal(got, uids) {
					t.Fatalf("%q: at %d is %v", line, position, got)
				}
				f.uids = slices.Delete(f.uids, position-1, position-1+len(uids))
			default:
				f.uids = slices.DeleteFunc(f.uids, func(u int) bool { return slices.Contains(uids, u) })
			}
		}
	}
}

// setOf returns the numbers of a set in its order.
func setOf(set string) (numbers []int) {
	for _, part := range strings.Split(set, ",") {
		a, b, ok := strings.Cut(part, ":")
		from, _ := strconv.Atoi(a)
		to := from
		if ok {
			to, _ = strconv.Atoi(b)
		}
		for ; from <= to; from++ {
			numbers = append(numbers, from)
		}
	}
	return numbers
}

// What the updates make of a result is what the search would find now.
func TestUpdatesAddUpToTheResult(t *testing.T) {
	searches := map[string]string{
		"A": "UID SEARCH RETURN (%s) UNSEEN",
		"B": "UID SORT RETURN (%s) (SUBJECT) UTF-8 OR UNSEEN FLAGGED",
		"C": "UID SORT RETURN (%s) (REVERSE SUBJECT REVERSE ARRIVAL) UTF-8 UID 1:* NOT FLAGGED",
	}
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 5267))
		s := newServer(t, imap.Options{})
		c, other := s.begin(t, t.Context()), s.begin(t, t.Context())
		results := map[string]*followed{}
		for range 5 {
			appendHeader(t, other, fmt.Sprintf("Subject: %d", rng.IntN(10)))
		}
		c.Command("x", "SELECT INBOX")
		other.Command("x", "SELECT INBOX")
		check := func(name string) {
			t.Helper()
			got := c.Command("y", fmt.Sprintf(searches[name], "ALL"))
			var want []int
			for _, line := range got {
				if _, set, ok := strings.Cut(line, " ALL "); ok {
					want = setOf(set)
				}
				if strings.Contains(line, `(TAG "`) && !strings.Contains(line, `(TAG "y")`) {
					t.Fatal("not in step before:", line)
				}
			}
			if !slices.Equal(results[name].uids, want) {
				t.Fatalf("seed %d: %s is %v, the updates make it %v", seed, name, want, results[name].uids)
			}
		}
		for name, search := range searches {
			results[name] = &followed{}
			for _, line := range c.Command(name, fmt.Sprintf(search, "UPDATE ALL")) {
				if _, set, ok := strings.Cut(line, " ALL "); ok {
					results[name].uids = setOf(set)
				}
			}
		}
		for range 40 {
			for range rng.IntN(3) {
				session := []interface {
					Command(tag, text string) []string
				}{c, other}[rng.IntN(2)]
				var lines []string
				switch rng.IntN(5) {
				case 0:
					appendHeader(t, other, fmt.Sprintf("Subject: %d", rng.IntN(10)))
				case 1:
					lines = session.Command("z", fmt.Sprintf("UID STORE %d +FLAGS (\\Deleted)", 1+rng.IntN(20)))
					lines = append(lines, session.Command("z", "EXPUNGE")...)
				default:
					flag := []string{`\Seen`, `\Flagged`}[rng.IntN(2)]
					lines = session.Command("z", fmt.Sprintf("STORE 1:%d %cFLAGS.SILENT (%s)", 1+rng.IntN(4), "+-"[rng.IntN(2)], flag))
				}
				if session == any(c) {
					follow(t, results, lines)
				}
			}
			follow(t, results, c.Command("z", "NOOP"))
			for name := range searches {
				check(name)
			}
		}
	}
}

func follow(t *testing.T, results map[string]*followed, lines []string) {
	t.Helper()
	for _, line := range lines {
		for name, f := range results {
			if strings.HasPrefix(line, `* ESEARCH (TAG "`+name+`")`) {
				f.apply(t, line)
			}
		}
	}
}

func TestTooManyContexts(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.begin(t, t.Context())
	s.append(t, c, 1)
	c.Command("x", "SELECT INBOX")
	for n := 1; n <= 16; n++ {
		if got := c.Command(fmt.Sprint("t", n), "SEARCH RETURN (UPDATE COUNT) ALL"); len(got) != 2 {
			t.Fatal(got)
		}
	}
	// RFC 5267 section 4.3.1
	got := c.Command("B02", "UID SORT RETURN (UPDATE COUNT) (SUBJECT) UTF-8 ALL")
	want := []string{`* ESEARCH (TAG "B02") UID COUNT 1`, `* NO [NOUPDATE "B02"] Too many contexts`, "B02 OK UID SORT completed"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}
