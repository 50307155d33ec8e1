package mailnode

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// Recover implements admin.MembersServer.
func (s *memberService) Recover(req *admin.RecoverRequest, stream grpc.ServerStreamingServer[admin.RecoverReport]) error {
	if !filepath.IsAbs(req.GetDir()) {
		return status.Errorf(codes.InvalidArgument, "%q is not the absolute path of a directory on the machine of %s", req.GetDir(), s.node.opts.Node.Name)
	}
	m, err := s.node.onlyMember(req.GetSubnet())
	if err != nil {
		return err
	}
	from, err := mailstore.OpenRemains(req.GetDir(), m.subnet.Name, mailstore.Options{Logger: s.node.logger})
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	err = m.recover(from, req.GetLook(), stream)
	if e := from.Close(); e != nil {
		level.Warn(s.node.logger).Log("msg", "close the data of an evicted member", "dir", req.GetDir(), "err", e)
	}
	return err
}

// onlyMember returns the node's member in a subnet, or, without a name, in the only one.
func (n *Node) onlyMember(subnet string) (*member, error) {
	switch {
	case subnet != "":
		return n.memberIn(subnet)
	case len(n.members) != 1:
		return nil, status.Errorf(codes.InvalidArgument, "%s keeps %d subnets: name one of them", n.opts.Node.Name, len(n.members))
	}
	return n.members[0], nil
}

// recover does again what is in remains and nowhere else, and tells the administrator.
func (m *member) recover(from *mailstore.Remains, look bool, stream grpc.ServerStreamingServer[admin.RecoverReport]) error {
	ctx := stream.Context()
	evicted, err := m.evictedOne(from.Origin())
	if err != nil {
		return err
	}
	origins, err := m.complete(ctx)
	if err != nil {
		return err
	}
	send := func(r *admin.RecoverReport) error {
		r.Subnet, r.Evicted = m.subnet.Name, evicted
		return stream.Send(r)
	}
	if err := send(&admin.RecoverReport{}); err != nil {
		return err
	}
	how := mailstore.Recovery{Evicted: origins, Look: look}
	// An administrator who is gone is found out by the context.
	how.Report = func(r mailstore.Recovered) { _ = send(recoverReport(r)) }
	if err := m.replica.Recover(ctx, from, how); err != nil {
		return accountStatus(err)
	}
	last := &admin.RecoverReport{Done: true}
	if !look {
		n, err := m.replica.RecoverContents(ctx, from)
		if err != nil {
			return accountStatus(err)
		}
		last.Contents = uint64(n)
	}
	return send(last)
}

// evictedOne returns the member that an incarnation was, if it was evicted.
func (m *member) evictedOne(o crdt.Origin) (*admin.Member, error) {
	s := m.group.Status()
	if o == s.Origin {
		return nil, status.Errorf(codes.FailedPrecondition, "the directory holds a copy of this node's own data")
	}
	i := slices.IndexFunc(s.Evicted, func(e comm.Eviction) bool { return e.Origin == o })
	if i < 0 {
		return nil, status.Errorf(codes.FailedPrecondition,
			"incarnation %v, whose data these are, was not evicted: start its node with them, or evict it first (plutoctl member evict)", o)
	}
	e := s.Evicted[i]
	return &admin.Member{Name: e.Name, Slot: uint32(e.Slot), Origin: uint64(e.Origin), State: "evicted"}, nil
}

const (
	// completeTick is how often complete looks whether all is here, completeWait for
	// how long it does.
	completeTick = 100 * time.Millisecond
	completeWait = 10 * time.Second
)

// complete returns all evicted incarnations when this member has everything of them
// that any member has, which is so when all are connected: what one of them had and
// this one did not would be there twice when it comes.
func (m *member) complete(ctx context.Context) ([]crdt.Origin, error) {
	tick := time.NewTicker(completeTick)
	defer tick.Stop()
	for began := time.Now(); ; {
		origins, err := incomplete(m.group.Status())
		if err == nil {
			return origins, nil
		}
		if time.Since(began) >= completeWait {
			return nil, status.Error(codes.FailedPrecondition, err.Error())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// incomplete returns the evicted incarnations, or why a member may have operations
// of them that this one does not have.
func incomplete(s comm.Status) (origins []crdt.Origin, err error) {
	if err := serves(s); err != nil {
		return nil, err
	}
	if s.Loading || s.QueuedOperations > 0 {
		return nil, errors.New("operations of peers are still coming in: try again later")
	}
	for _, e := range s.Evicted {
		origins = append(origins, e.Origin)
	}
	for _, p := range s.Peers {
		if slices.Contains(origins, p.Origin) {
			continue // it was evicted, and nothing has taken its place
		}
		if !p.Sending || !p.Receiving {
			return nil, fmt.Errorf("member %s cannot be reached, and may have some of what is to be recovered: try again when it is there", p.Name)
		}
		for _, o := range origins {
			if has, here := p.Acked.Get(o), s.Logged.Get(o); has > here {
				return nil, fmt.Errorf("member %s has %d operations of %v that are not here yet: try again later", p.Name, has-here, o)
			}
		}
	}
	return origins, nil
}

func recoverReport(r mailstore.Recovered) *admin.RecoverReport {
	return &admin.RecoverReport{
		User: uint32(r.Account), Added: uint64(r.Added), Moved: uint64(r.Moved), Bytes: r.Bytes, Flags: uint64(r.Flags),
		Removed: uint64(r.Removed), Mailboxes: uint64(r.Mailboxes), Settings: uint64(r.Settings), Elsewhere: uint64(r.Elsewhere),
		Problems: r.Problems,
	}
}
