package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/crdt"
)

var memberRecoverCommand = command{
	name: "member recover", args: "NODE DIR [-n] [-subnet NAME]", about: "does again, at NODE, what only an evicted member had, from its data directory", run: recoverMember,
}

// recoverMember fails when something was not recovered.
func recoverMember(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("member recover", "NODE DIR [-n] [-subnet NAME]")
	look := set.Bool("n", false, "only say what there is")
	subnet := set.String("subnet", "", "the `subnet`, where NODE keeps several")
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() == 0 {
		set.Usage()
		return errors.New("no node is named")
	}
	node := set.Arg(0)
	dir, err := e.oneArg(set, set.Args()[1:], "directory on the node's machine")
	if err != nil {
		return err
	}
	conn, err := e.dial(node)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := admin.NewMembersClient(conn).Recover(ctx, &admin.RecoverRequest{Subnet: *subnet, Dir: dir, Look: *look})
	if err != nil {
		return remote(node, err)
	}
	var sum recovered
	for done := false; !done; {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: it ended early: give the command again", node)
		}
		if err != nil {
			return remote(node, err)
		}
		done = r.GetDone()
		sum.print(e.stdout, r, *look)
	}
	if sum.problems > 0 {
		return fmt.Errorf("%s: %d problems", node, sum.problems)
	}
	return nil
}

// recovered sums up reports.
type recovered struct {
	accounts, problems int
	sum                admin.RecoverReport
}

// print prints a report.
func (s *recovered) print(w io.Writer, r *admin.RecoverReport, look bool) {
	switch {
	case r.GetDone():
		verb := "recovered"
		if look {
			verb = "to be recovered"
		}
		s.sum.Contents = r.GetContents()
		what := changes(&s.sum)
		if what == "" {
			what = "nothing"
		}
		fmt.Fprintf(w, "%s: %s: %s, of %d users\n", r.GetSubnet(), verb, what, s.accounts)
	case r.GetUser() == 0 && len(r.GetProblems()) == 0:
		m := r.GetEvicted()
		fmt.Fprintf(w, "%s: data of %s (slot %d, incarnation %v), which was evicted\n", r.GetSubnet(), m.GetName(), m.GetSlot(), crdt.Origin(m.GetOrigin()))
	default:
		s.add(r)
		if what := changes(r); what != "" {
			fmt.Fprintf(w, "user %d: %s\n", r.GetUser(), what)
		}
		for _, p := range r.GetProblems() {
			fmt.Fprintf(w, "user %d: PROBLEM: %s\n", r.GetUser(), p)
		}
	}
}

func (s *recovered) add(r *admin.RecoverReport) {
	s.accounts++
	s.problems += len(r.GetProblems())
	s.sum.Added += r.GetAdded()
	s.sum.Moved += r.GetMoved()
	s.sum.Bytes += r.GetBytes()
	s.sum.Flags += r.GetFlags()
	s.sum.Removed += r.GetRemoved()
	s.sum.Mailboxes += r.GetMailboxes()
	s.sum.Settings += r.GetSettings()
	s.sum.Elsewhere += r.GetElsewhere()
}

// changes says in words what a report tells of; "" if nothing.
func changes(r *admin.RecoverReport) string {
	var list []string
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{r.GetAdded(), "messages added"}, {r.GetMoved(), "messages moved"}, {r.GetRemoved(), "messages removed"}, {r.GetFlags(), "flags changed"},
		{r.GetMailboxes(), "mailboxes changed"}, {r.GetSettings(), "settings changed"}, {r.GetBytes(), "bytes that nobody else has"},
		{r.GetContents(), "contents that were missing"}, {r.GetElsewhere(), "messages that the others have already"},
	} {
		if c.n > 0 {
			list = append(list, fmt.Sprint(c.n, " ", c.what))
		}
	}
	return strings.Join(list, ", ")
}
