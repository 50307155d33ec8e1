package imap_test

import (
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
)

var inProgress = regexp.MustCompile(`^\* OK \[INPROGRESS \("([^"]*)" (\d+|NIL) (\d+|NIL)\)\] `)

// A client that waits hears how far its command is before the response begins
// (RFC 9585).
func TestProgress(t *testing.T) {
	s := newServer(t, imap.Options{ProgressEvery: time.Nanosecond})
	c := s.begin(t, t.Context())
	s.append(t, c, 5)
	c.Command("x", "SELECT INBOX")
	for _, command := range []string{
		"SEARCH BODY nothing", "SORT (SUBJECT) UTF-8 SUBJECT x", "THREAD REFERENCES UTF-8 SUBJECT x", "SORT (DATE) UTF-8 2:3",
	} {
		got := c.Command("t1", command)
		last, goal, reports := 0, "", 0
		for _, line := range got[:len(got)-2] {
			m := inProgress.FindStringSubmatch(line)
			if m == nil || m[1] != "t1" {
				t.Fatalf("%s: got %q", command, line)
			}
			done, _ := strconv.Atoi(m[2])
			if done <= last && last > 0 || goal != "" && m[3] != goal {
				t.Errorf("%s: %d of %s after %d of %s", command, done, m[3], last, goal)
			}
			last, goal = done, m[3]
			reports++
		}
		if reports < 2 || !strings.HasPrefix(got[len(got)-1], "t1 OK") {
			t.Errorf("%s: got %q", command, got)
		}
	}
	// What has told of its progress can be executed again from its beginning.
	points := s.conns[0].Checkpoints()
	if points[len(points)-1].Consumed <= points[len(points)-2].Consumed {
		t.Error("the last command is not done with, or was done with before its end")
	}
}

// COPY tells that it is being done, but not how far it is.
func TestProgressOfCopy(t *testing.T) {
	s := newServer(t, imap.Options{ProgressEvery: time.Millisecond})
	told := make(chan struct{})
	var slow atomic.Bool
	s.store.Fail = func(operation string) error {
		if operation == "copy" && slow.Load() {
			<-told
		}
		return nil
	}
	c := s.begin(t, t.Context())
	s.append(t, c, 8)
	c.Command("x", "SELECT INBOX")
	for n := 8; n <= 1000; n *= 2 {
		c.Command("x", "COPY 1:* INBOX")
	}
	slow.Store(true)
	c.Send("b COPY 1:* Trash\r\n")
	if line, _ := c.Line(); !strings.HasPrefix(line, `* OK [INPROGRESS ("b" NIL NIL)] `) {
		t.Fatal(line)
	}
	close(told)
	if got := last(c.Answer("b")); !strings.HasPrefix(got, "b OK [COPYUID ") {
		t.Fatal(got)
	}
}

// APPEND of a large message may wait for other nodes, and tells that too.
func TestProgressOfAppend(t *testing.T) {
	s := newServer(t, imap.Options{ProgressEvery: time.Millisecond})
	told := make(chan struct{})
	s.store.Fail = func(operation string) error {
		if operation == "append" {
			<-told
		}
		return nil
	}
	c := s.begin(t, t.Context())
	message := "Subject: large\r\n\r\n" + strings.Repeat("text\r\n", 200_000)
	c.Send("a APPEND INBOX {" + strconv.Itoa(len(message)) + "+}\r\n" + message + "\r\n")
	if line, _ := c.Line(); !strings.HasPrefix(line, `* OK [INPROGRESS ("a" NIL NIL)] `) {
		t.Fatal(line)
	}
	close(told)
	if got := last(c.Answer("a")); !strings.HasPrefix(got, "a OK [APPENDUID ") {
		t.Fatal(got)
	}
}
