package distributor

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-pluto/pluto/auth"
)

// Whatever a client says before login, with TLS or without, it is answered in
// whole lines of ASCII, does not log in without a password, and comes to an end.
func FuzzBeforeLogin(f *testing.F) {
	for _, s := range []string{
		"a login user1 pass1\r\nb noop\r\n", "a login {5+}\r\nuser1 {5}\r\npass1\r\n", "a authenticate plain\r\nAHVzZXIxAHBhc3Mx\r\n",
		"a authenticate plain AHVzZXIxAHBhc3Mx\r\n", "a id (\"name\" \"x\\\"\" \"y\" nil)\r\na id nil\r\n", "a starttls\r\nb noop\r\n",
		"a capability\r\nb logout\r\n", "a login {99999999999+}\r\n", "\r\n\r\n\r\n", "a append x {3+}\r\nabc\r\n", "a authenticate x\r\n*\r\n",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	s := startServer(f, func(o *Options) {
		o.Throttle = auth.NewThrottle(auth.ThrottleOptions{Free: 1 << 30})
	})
	f.Fuzz(func(t *testing.T, input []byte, secure bool) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		c := newClient(s.Server, theirs)
		c.secure = secure
		c.loginBy = time.Now().Add(patience)
		c.begin(nil)
		done := make(chan *identified)
		go func() {
			defer close(done)
			defer c.close()
			session := c.identify()
			if session != nil {
				c.leave(session)
			}
			done <- session
		}()
		output := make(chan []byte)
		go func() {
			b, err := io.ReadAll(ours)
			if err != nil && err != io.ErrClosedPipe {
				t.Errorf("read: %v", err)
			}
			output <- b
		}()
		ours.SetWriteDeadline(time.Now().Add(patience))
		ours.Write(input) // fails when the server has closed
		theirs.Close()
		if session := <-done; session != nil {
			t.Error("logged in, although nobody keeps any user")
		}
		<-done
		out := <-output
		for line := range bytes.Lines(out) {
			if !bytes.HasSuffix(line, []byte("\r\n")) {
				t.Errorf("not a line: %q", line)
			}
			for _, b := range line[:max(0, len(line)-2)] {
				if b < ' ' || b > '~' {
					t.Errorf("byte %#x in %q", b, line)
				}
			}
		}
		if !secure && bytes.Contains(out, []byte("CONTACTADMIN")) {
			t.Error("took a password without TLS")
		}
	})
}
