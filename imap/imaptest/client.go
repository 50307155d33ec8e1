package imaptest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a client waits for a line that must come. It passes only
// when a test fails.
const patience = 20 * time.Second

// Client is the client end of a session, line by line.
type Client struct {
	t     testing.TB
	conn  net.Conn
	lines chan string
	ended sync.WaitGroup
}

// NewClient returns a client on conn, which is closed when the test ends.
func NewClient(t testing.TB, conn net.Conn) *Client {
	c := &Client{t: t, conn: conn, lines: make(chan string, 1<<16)}
	c.ended.Add(1)
	go c.read()
	t.Cleanup(c.Close)
	return c
}

// Close closes the connection and waits for the end of the reading.
func (c *Client) Close() {
	c.conn.Close()
	c.ended.Wait()
}

// read takes what comes off the connection, so that the server never waits for
// the test.
func (c *Client) read() {
	defer c.ended.Done()
	defer close(c.lines)
	r := bufio.NewReader(c.conn)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			c.lines <- line
		}
		if err != nil {
			return
		}
	}
}

// Send sends bytes. It is an error of the test when that fails.
func (c *Client) Send(text string) {
	c.t.Helper()
	if err := c.TrySend(text); err != nil {
		c.t.Errorf("send %.80q: %v", text, err)
	}
}

// TrySend sends bytes to a server that may have ended the session.
func (c *Client) TrySend(text string) error {
	_, err := io.WriteString(c.conn, text)
	return err
}

// Line returns the next line without its end, and false when the connection
// has ended.
func (c *Client) Line() (string, bool) {
	c.t.Helper()
	line, ok := c.Raw()
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), ok
}

// Raw is Line with the line's end.
func (c *Client) Raw() (string, bool) {
	c.t.Helper()
	select {
	case line, ok := <-c.lines:
		return line, ok
	case <-time.After(patience):
		c.t.Fatal("no answer")
		return "", false
	}
}

// Command sends a command and returns the lines up to the one with its tag or
// the continuation request, which is the last.
func (c *Client) Command(tag, text string) []string {
	c.t.Helper()
	c.Send(tag + " " + text + "\r\n")
	return c.Answer(tag)
}

// Answer returns the lines up to the one with the tag or the continuation
// request. It is shorter when the connection ends.
func (c *Client) Answer(tag string) []string {
	c.t.Helper()
	var lines []string
	for {
		line, ok := c.Line()
		if !ok {
			return lines
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, tag+" ") || strings.HasPrefix(line, "+ ") {
			return lines
		}
	}
}
