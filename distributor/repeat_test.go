package distributor

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// response makes a response with a literal of a size.
func response(n, size int) string {
	if size < 0 {
		return fmt.Sprintf("* %d FETCH (FLAGS (\\Seen))\r\n", n)
	}
	return fmt.Sprintf("* %d FETCH (BODY[] {%d}\r\n%s)\r\n", n, size, strings.Repeat(fmt.Sprint(n%10), size))
}

// Whatever is cut where, and how often, the client gets each response once and
// nothing that is not one, or it is said that it cannot.
func TestRepeatedAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var whole []byte
		for n := range rapid.IntRange(1, 12).Draw(t, "responses") {
			whole = append(whole, response(n+1, rapid.SampledFrom([]int{-1, 0, 10, 3000, 5000, 70000}).Draw(t, "size"))...)
		}
		var got []byte
		d := newDelivered()
		var r *repeat
		for cut := range 4 {
			end := len(whole)
			if cut < 3 {
				end = rapid.IntRange(0, len(whole)).Draw(t, "end")
			}
			for rest := whole[:end]; len(rest) > 0; {
				n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
				piece := rest[:n]
				rest = rest[n:]
				if r != nil {
					piece = r.pass(nil, piece)
				}
				got = d.pass(got, piece)
			}
			if cut == 3 {
				break
			}
			r = newRepeat(d)
		}
		r.finish()
		if r.failed || !bytes.Equal(got, whole) {
			t.Fatalf("failed %v; got %d bytes, want %d", r.failed, len(got), len(whole))
		}
	})
}

// A response that has changed since is new, also among others that have not.
func TestRepeatOfWhatHasChanged(t *testing.T) {
	a, b, c := response(1, -1), response(2, 20), response(3, -1)
	d := newDelivered()
	d.pass(nil, []byte(a+b+c))
	r := newRepeat(d)
	changed := strings.Replace(a, `\Seen`, `\Flagged`, 1)
	if got := string(r.pass(nil, []byte(changed+b+c))); got != changed || r.failed {
		t.Errorf("%q", got)
	}
}

// The rest of a literal comes before anything else, and only if it is the same message.
func TestRepeatInsideALiteral(t *testing.T) {
	for _, size := range []int{1000, 100000} {
		text := response(7, size)
		half := len(text) / 2
		begin := func() (*delivered, string) {
			d := newDelivered()
			return d, string(d.pass(nil, []byte(text[:half])))
		}
		d, got := begin()
		if got != text[:half] || !d.torn() {
			t.Fatalf("%d bytes of %d were passed", len(got), half)
		}
		r := newRepeat(d)
		other := "* OK by the way\r\n"
		if got := string(r.pass(nil, []byte(other+text))); got != text[half:]+other {
			t.Errorf("%d: got %d bytes", size, len(got))
		}
		d, _ = begin()
		r = newRepeat(d)
		got = string(r.pass(nil, []byte(strings.Replace(text, "7777", "8888", 1))))
		if r.finish(); got != "" || !r.failed {
			t.Errorf("%d: another message is %d bytes, failed %v", size, len(got), r.failed)
		}
	}
}

// A line is passed on as a whole.
func TestHalfALineIsHeldBack(t *testing.T) {
	d := newDelivered()
	if got := string(d.pass(nil, []byte("* 1 EXISTS\r\n* 2 FE"))); got != "* 1 EXISTS\r\n" || d.torn() {
		t.Errorf("%q", got)
	}
	if got := string(d.pass(nil, []byte("TCH (UID 1)\r\n"))); got != "* 2 FETCH (UID 1)\r\n" {
		t.Errorf("%q", got)
	}
}

// An upload is followed however its bytes come, and what is behind it is kept.
func TestUploadIsFollowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := "a NOOP\r\nb APPEND x {3+}\r\nabc\r\n"
		size := rapid.IntRange(10, 5000).Draw(t, "size")
		command := fmt.Sprintf("c.1 APPEND x (\\Seen) {%d+}\r\n%s {5+}\r\n{9}\r\n\r\n", size, strings.Repeat("}\n{1}\r\n", size)[:size])
		after := "d LOGOUT\r\n"
		all := []byte(before + command + after)
		known := len(before) + strings.Index(command, "\n") + 1 + rapid.IntRange(0, size-1).Draw(t, "known")
		start, u, ok := findUpload(all[:known])
		if !ok || start != len(before) || u.tag != "c.1" {
			t.Fatalf("found %+v at %d", u, start)
		}
		for rest := all[known:]; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			if !u.add(rest[:n]) {
				t.Fatal("too much")
			}
			rest = rest[n:]
		}
		if !u.ended || u.size != uint64(len(command)) || string(u.after) != after {
			t.Fatalf("ended %v with %d bytes of %d, then %q", u.ended, u.size, len(command), u.after)
		}
	})
	if _, _, ok := findUpload([]byte("a NOOP\r\nb NOOP")); ok {
		t.Error("half a line is an upload")
	}
}
