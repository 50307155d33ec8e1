package bench

import (
	"fmt"
	"strings"

	"github.com/go-pluto/pluto/bench/imapc"
)

// operation prepares one command of a mix: it returns the name to record it
// under and the function to time. ready=false means that the mailbox has no
// message to work on.
type operation func(c *loopClient) (name string, run func() error, ready bool)

// operations are the commands that a mix may be made of. It is filled in init
// because DELETE falls back to CREATE.
var operations map[string]operation

func init() {
	operations = map[string]operation{
		"APPEND":     opAppend,
		"STORE":      onMessage("STORE", storeSome),
		"STOREDEL":   onMessage("STORE", storeDeleted),
		"EXPUNGE":    command("EXPUNGE", "EXPUNGE"),
		"FETCHBODY":  onMessage("FETCH BODY[]", fetchBody),
		"FETCHENV":   onMessage("FETCH ENVELOPE", fetchEnvelopes),
		"FETCHFLAGS": onMessage("FETCH FLAGS", fetchFlags),
		"SEARCH":     opSearch,
		"SELECT":     opSelect,
		"STATUS":     command("STATUS", "STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"),
		"NOOP":       command("NOOP", "NOOP"),
		"LIST":       command("LIST", `LIST "" "*"`),
		"CREATE":     opCreate,
		"DELETE":     opDelete,
	}
}

// command makes an operation that always sends the same.
func command(name, text string) operation {
	return func(c *loopClient) (string, func() error, bool) {
		return name, func() error { return c.do(text) }, true
	}
}

// onMessage makes an operation that wants messages in the mailbox.
func onMessage(name string, f func(c *loopClient) error) operation {
	return func(c *loopClient) (string, func() error, bool) {
		return name, func() error { return f(c) }, len(c.uids) > 0
	}
}

func opAppend(c *loopClient) (string, func() error, bool) {
	m := c.gen.next("")
	return "APPEND", func() error {
		_, err := c.conn.Append(c.mailbox, "", m, c.o.nonSync(c.conn))
		return err
	}, true
}

func opSelect(c *loopClient) (string, func() error, bool) {
	return "SELECT", func() error { return c.selectMailbox(c.mailbox) }, true
}

func opCreate(c *loopClient) (string, func() error, bool) {
	name := c.newName()
	return "CREATE", func() error {
		err := c.do("CREATE " + imapc.Quote(name))
		if err == nil {
			c.extra = append(c.extra, name)
		}
		return err
	}, true
}

func opDelete(c *loopClient) (string, func() error, bool) {
	if len(c.extra) == 0 {
		return opCreate(c)
	}
	i := c.rng.IntN(len(c.extra))
	name := c.extra[i]
	c.extra = append(c.extra[:i], c.extra[i+1:]...)
	return "DELETE", func() error { return c.do("DELETE " + imapc.Quote(name)) }, true
}

// opSearch does not look at the result: an empty one is not always answered with
// an untagged SEARCH.
func opSearch(c *loopClient) (string, func() error, bool) {
	w := words[c.rng.IntN(len(words))]
	kinds := [...]string{"UNSEEN", "FLAGGED", "UNDELETED UNSEEN", "SINCE 1-Jan-2026", "SUBJECT " + w, "FROM " + w, "LARGER 20000", "TEXT " + w}
	text := "UID SEARCH " + kinds[c.rng.IntN(len(kinds))]
	return "UID SEARCH", func() error { return c.do(text) }, true
}

func storeSome(c *loopClient) error {
	flag := `\Seen`
	switch x := c.rng.Float64(); {
	case x < 0.05:
		flag = `\Deleted`
	case x < 0.3:
		flag = `\Flagged`
	case x < 0.4:
		flag = `\Answered`
	}
	sign := "+"
	if c.rng.Float64() < 0.35 {
		sign = "-"
	}
	return c.do(fmt.Sprintf("UID STORE %d %sFLAGS (%s)", c.anyUID(), sign, flag))
}

func storeDeleted(c *loopClient) error {
	return c.do(fmt.Sprintf("UID STORE %d +FLAGS (\\Deleted)", c.anyUID()))
}

func fetchBody(c *loopClient) error {
	return c.fetch(fmt.Sprintf("UID FETCH %d (UID BODY.PEEK[])", c.anyUID()), 1, "BODY[]",
		func(v imapc.Value) error { return checkMessage(v.Str) })
}

func fetchEnvelopes(c *loopClient) error {
	lo, hi := c.anyPage()
	return c.fetch(fmt.Sprintf("FETCH %d:%d (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", lo, hi), hi-lo+1, "ENVELOPE", nil)
}

func fetchFlags(c *loopClient) error {
	return c.fetch(fmt.Sprintf("FETCH 1:%d (UID FLAGS)", len(c.uids)), len(c.uids), "FLAGS", nil)
}

// fetch runs a FETCH and checks that it got answers for want messages.
func (c *loopClient) fetch(text string, want int, item string, check func(imapc.Value) error) error {
	got := 0
	var bad error
	_, err := c.conn.Do(text, func(r *imapc.Response) {
		if r.Name != "FETCH" {
			return
		}
		v, ok := imapc.FetchItem(r.Rest, item)
		if !ok {
			return
		}
		got++
		if check != nil && bad == nil {
			bad = check(v)
		}
	})
	switch {
	case err != nil:
		return err
	case bad != nil:
		return wrongData("%v", bad)
	case got < want && !c.o.Shared: // others may have expunged some
		return wrongData("%s: %d answers, want %d", item, got, want)
	}
	return nil
}

// wrongData makes an error of an answer that was OK in form and wrong in
// content; like NO and BAD it does not end the connection.
func wrongData(format string, args ...any) error {
	return &imapc.StatusError{Status: "DATA", Text: strings.TrimSpace(fmt.Sprintf(format, args...))}
}
