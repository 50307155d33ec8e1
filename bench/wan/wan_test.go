package wan

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo answers everything with itself.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// between puts a network with one link before an echo, from a to b.
func between(t *testing.T) (*Network, func() net.Conn) {
	t.Helper()
	target := echo(t)
	n := &Network{}
	addr, err := n.Add("a", "b", "127.0.0.2:0", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n, func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// roundTrip sends a word and returns how long its echo took.
func roundTrip(t *testing.T, c net.Conn, word string) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := io.WriteString(c, word); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
		t.Fatalf("%q came back as %q (%v)", word, got, err)
	}
	return time.Since(began)
}

// TestDelay: nothing arrives before its time, each direction has its own, and a
// change reaches open connections.
func TestDelay(t *testing.T) {
	n, dial := between(t)
	c := dial()
	roundTrip(t, c, "at once")
	n.Set("a", "b", Conditions{Delay: 30 * time.Millisecond})
	n.Set("b", "a", Conditions{Delay: 20 * time.Millisecond})
	for range 3 {
		if d := roundTrip(t, c, "later"); d < 50*time.Millisecond {
			t.Errorf("there and back in %v", d)
		}
	}
}

// TestRate: no more than the rate gets through, the bytes are the same, and a
// second connection shares it.
func TestRate(t *testing.T) {
	n, dial := between(t)
	const rate = 1 << 20
	n.Set("a", "b", Conditions{Rate: rate})
	data := make([]byte, rate/8)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		c := dial()
		wg.Go(func() {
			wg.Go(func() {
				if _, err := c.Write(data); err != nil {
					t.Error(err)
				}
			})
			got := make([]byte, len(data))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("other bytes came back (%v)", err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(began); d < time.Second/4-10*time.Millisecond {
		t.Errorf("%d bytes at %d bytes a second took %v", 2*len(data), rate, d)
	}
	if got := n.Carried("a", "b"); got != int64(2*len(data)) {
		t.Errorf("%d bytes carried, %d sent", got, 2*len(data))
	}
}

// TestCut: what is sent into a cut arrives when it ends, on the same connection;
// the other direction goes on, and a new connection comes about only afterwards.
func TestCut(t *testing.T) {
	n, dial := between(t)
	c := dial()
	roundTrip(t, c, "before")
	n.Cut("a", "b")
	if _, err := io.WriteString(c, "during"); err != nil {
		t.Fatal(err)
	}
	fresh := dial()
	if _, err := io.WriteString(fresh, "fresh"); err != nil {
		t.Fatal(err)
	}
	silent(t, c)
	silent(t, fresh)
	n.Heal()
	for _, x := range []struct {
		conn net.Conn
		want string
	}{{c, "during"}, {fresh, "fresh"}} {
		got := make([]byte, len(x.want))
		if _, err := io.ReadFull(x.conn, got); err != nil || string(got) != x.want {
			t.Errorf("%q instead of %q (%v)", got, x.want, err)
		}
	}
	n.Cut("b", "a")
	if _, err := io.WriteString(c, "there"); err != nil {
		t.Fatal(err)
	}
	silent(t, c)
	if got := n.Carried("a", "b"); got != int64(len("before"+"during"+"fresh"+"there")) {
		t.Errorf("%d bytes got through in the direction that is not cut", got)
	}
}

// silent wants nothing to come for a moment.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes came through a cut", n)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// TestBreak: both ends see that a connection was reset, and the next one works.
func TestBreak(t *testing.T) {
	n, dial := between(t)
	c := dial()
	roundTrip(t, c, "before")
	n.Break("b", "a")
	if _, err := c.Read(make([]byte, 10)); err == nil {
		t.Error("the connection goes on")
	}
	roundTrip(t, dial(), "after")
}

// TestEnd: the end of one direction arrives behind its bytes, and the other goes on.
func TestEnd(t *testing.T) {
	n, dial := between(t)
	n.Set("a", "b", Conditions{Delay: 10 * time.Millisecond})
	c := dial()
	if _, err := io.WriteString(c, "last words"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "last words" {
		t.Errorf("%q came back (%v)", got, err)
	}
}
