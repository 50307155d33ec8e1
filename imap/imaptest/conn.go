// Package imaptest has what tests of IMAP sessions need: connections in memory
// for [imap.Serve], and scripts that read like a session and can be run against
// anything that speaks IMAP.
//
// It is for tests only and keeps no limits of its own.
package imaptest

import (
	"net"
	"sync"

	"github.com/go-pluto/pluto/imap"
)

// Conn makes an [imap.Conn] of a network connection, such as one end of
// [net.Pipe]. It keeps what the session says about itself.
type Conn struct {
	net.Conn

	mu     sync.Mutex
	queued []byte
	sent   []imap.Checkpoint
}

// NewConn returns a Conn on c.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c} }

// Write implements [imap.Conn]: it queues.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued = append(c.queued, p...)
	return len(p), nil
}

// Answer implements [imap.Conn].
func (c *Conn) Answer(p imap.Checkpoint) error {
	c.keep(p)
	return c.send()
}

// Continue implements [imap.Conn].
func (c *Conn) Continue(p imap.Checkpoint) error {
	c.keep(p)
	return c.send()
}

// Bye implements [imap.Conn]: it closes the connection.
func (c *Conn) Bye() error {
	err := c.send()
	if err2 := c.Close(); err == nil {
		err = err2
	}
	return err
}

// Checkpoints returns the checkpoints that were sent.
func (c *Conn) Checkpoints() []imap.Checkpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]imap.Checkpoint(nil), c.sent...)
}

func (c *Conn) keep(p imap.Checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, p)
}

// send writes what is queued.
func (c *Conn) send() error {
	c.mu.Lock()
	queued := c.queued
	c.queued = nil
	c.mu.Unlock()
	if len(queued) == 0 {
		return nil
	}
	_, err := c.Conn.Write(queued)
	return err
}
