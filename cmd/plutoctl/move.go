package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
)

var moveCommand = command{
	name: "user move", args: "USER[-USER] SUBNET", about: "moves users to another subnet while they work; go on with what was interrupted by giving it again", run: moveUsers,
}

// moveUsers moves one user after the other.
func moveUsers(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("user move", "USER[-USER] SUBNET [-from SUBNET] [-abort [-lost]]")
	from := set.String("from", "", "the `subnet` where they live (default what that whose range they are in says)")
	abort := set.Bool("abort", false, "take back what was begun: the users stay where they are")
	lost := set.Bool("lost", false, "with -abort and -from: the subnet that they have gone to is lost, what is left of them is served again")
	return e.eachUser(set, args, func(user uint32, subnet string) error {
		if *lost && (!*abort || *from == "") {
			set.Usage()
			return errors.New("-lost needs -abort and -from")
		}
		return e.moveUser(ctx, user, *from, subnet, *abort, *lost)
	})
}

func (e *environment) moveUser(ctx context.Context, user uint32, from, to string, abort, lost bool) (err error) {
	if from == "" {
		if from, err = e.livesIn(ctx, user); err != nil {
			return err
		}
	}
	m, err := e.newMove(user, from, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	switch {
	case from == to && abort:
		return fmt.Errorf("it lives in %s", to)
	case from == to:
		m.say("lives in %s", to)
		return nil
	case lost:
		return m.stay(ctx)
	case abort:
		return m.abort(ctx)
	}
	return m.run(ctx)
}

// eachUser parses the arguments of a command about users and a subnet, and calls f
// for each user until it fails.
func (e *environment) eachUser(set *flag.FlagSet, args []string, f func(user uint32, subnet string) error) error {
	if err := set.Parse(args); err != nil {
		return err
	}
	first, last, err := userRange(set.Arg(0))
	if err != nil {
		set.Usage()
		return err
	}
	subnet, err := e.oneArg(set, set.Args()[1:], "subnet")
	if err != nil {
		return err
	}
	for user := uint64(first); user <= uint64(last); user++ {
		if err := f(uint32(user), subnet); err != nil {
			return fmt.Errorf("user %d: %w", user, err)
		}
	}
	return nil
}

func userRange(s string) (first, last uint32, err error) {
	a, b, two := strings.Cut(s, "-")
	if !two {
		b = a
	}
	x, errX := strconv.ParseUint(a, 10, 32)
	y, errY := strconv.ParseUint(b, 10, 32)
	if errX != nil || errY != nil || x == 0 || y < x {
		return 0, 0, fmt.Errorf("%q is neither a user ID nor a range of them", s)
	}
	return uint32(x), uint32(y), nil
}

// side is a member that takes part in a move.
type side struct {
	subnet, node string
	conn         *grpc.ClientConn
	move         admin.MoveClient
}

// movement is a user's move.
type movement struct {
	e        *environment
	user     uint32
	from, to side
}

func (e *environment) newMove(user uint32, from, to string) (*movement, error) {
	m := &movement{e: e, user: user}
	for s, subnet := range map[*side]string{&m.from: from, &m.to: to} {
		var err error
		if *s, err = e.side(subnet, ""); err != nil {
			return nil, errors.Join(err, m.close())
		}
	}
	return m, nil
}

// side connects to a node of a subnet, "": the first one that the file names.
func (e *environment) side(subnet, node string) (side, error) {
	cfg, err := e.config()
	if err != nil {
		return side{}, err
	}
	if node == "" {
		list := cfg.ReplicasIn(subnet)
		if len(list) == 0 {
			return side{}, fmt.Errorf("%s names no node of subnet %q", cfg.Path, subnet)
		}
		node = list[0].Name
	}
	conn, err := e.dial(node)
	if err != nil {
		return side{}, err
	}
	return side{subnet, node, conn, admin.NewMoveClient(conn)}, nil
}

func (m *movement) close() error {
	var errs []error
	for _, s := range []side{m.from, m.to} {
		if s.conn != nil {
			errs = append(errs, s.conn.Close())
		}
	}
	return errors.Join(errs...)
}

// place is where a side says that the account is.
type place struct{ home, target string }

// in reports whether it is served in a subnet, as that says.
func (p place) in(subnet string) bool { return p.home == subnet && p.target == "" }

func (s side) where(ctx context.Context, user uint32) (place, error) {
	w, err := s.move.Where(ctx, &admin.MoveRequest{Subnet: s.subnet, User: user})
	if err != nil {
		return place{}, remote(s.node, err)
	}
	return place{w.GetHome(), w.GetTarget()}, nil
}

// settle has a side say where the account lives.
func (m *movement) settle(ctx context.Context, s side, subnet string) error {
	if _, err := s.move.Settle(ctx, &admin.MoveRequest{Subnet: s.subnet, User: m.user, To: subnet}); err != nil {
		return remote(s.node, err)
	}
	return nil
}

// where asks both sides, the target's by the member that takes the account over if
// one does already.
func (m *movement) where(ctx context.Context) (source, target place, err error) {
	if source, err = m.from.where(ctx, m.user); err != nil {
		return source, target, err
	}
	if taker := source.target; taker != "" && source.home == m.to.subnet && taker != m.to.node {
		other, err := m.e.side(m.to.subnet, taker)
		if err != nil {
			return source, target, fmt.Errorf("%s takes it over: %w", taker, err)
		}
		if err := m.to.conn.Close(); err != nil {
			return source, target, err
		}
		m.to = other
	}
	target, err = m.to.where(ctx, m.user)
	return source, target, err
}

// run does what is left to be done.
func (m *movement) run(ctx context.Context) error {
	source, target, err := m.where(ctx)
	if err != nil {
		return err
	}
	lives := source.home == "" || source.in(m.from.subnet)
	switch arrived := target.in(m.to.subnet); {
	case !lives && source.home == m.from.subnet:
		return fmt.Errorf("it is on its way to %s: end that first", m.from.subnet)
	case !lives && source.home != m.to.subnet:
		return fmt.Errorf("it was moved from %s to %s: give -from %s", m.from.subnet, source.home, source.home)
	case arrived && lives:
		return fmt.Errorf("both %s and %s say that it lives there; with -abort it is in %s alone", m.from.subnet, m.to.subnet, m.from.subnet)
	case arrived && source.in(m.to.subnet):
		m.say("lives in %s", m.to.subnet)
		return nil
	case !arrived:
		if err := m.transfer(ctx); err != nil {
			return err
		}
	}
	if err := m.settle(ctx, m.from, m.to.subnet); err != nil {
		return err
	}
	m.say("has moved from %s to %s", m.from.subnet, m.to.subnet)
	return nil
}

// transfer copies contents while the user works, sends the account away, and has
// the target take it over.
func (m *movement) transfer(ctx context.Context) error {
	n, err := m.contents(ctx)
	if err != nil {
		return err
	}
	m.say("%d contents copied, while it is served in %s", n, m.from.subnet)
	if err := m.sendAway(ctx, m.from, m.to.subnet, m.to.node); err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		if n, err = m.contents(ctx); err != nil {
			return err
		}
		m.say("%d more contents copied", n)
		if again, err := m.arrive(ctx); !again || tries == maxTries {
			return err
		}
	}
}

// maxTries bounds how often the target can lose contents that it was given: it does
// when it is started again.
const maxTries = 5

// arrive has the target take the account over. again: it has lost contents.
func (m *movement) arrive(ctx context.Context) (again bool, err error) {
	in, err := m.to.move.Import(ctx)
	if err != nil {
		return false, remote(m.to.node, err)
	}
	if err := m.snapshot(ctx, in.Send); err != nil {
		return false, err
	}
	if _, err := in.CloseAndRecv(); err != nil {
		return status.Code(err) == codes.Aborted, remote(m.to.node, err)
	}
	return false, nil
}

// sendAway has a side say where the account goes, and returns when nothing can come
// there any more that was done before.
func (m *movement) sendAway(ctx context.Context, s side, subnet, target string) error {
	stream, err := s.move.SendAway(ctx, &admin.MoveRequest{Subnet: s.subnet, User: m.user, To: subnet, Target: target})
	for err == nil {
		var p *admin.AwayProgress
		if p, err = stream.Recv(); err == nil && p.GetFinal() {
			return nil
		}
		if len(p.GetWaiting()) > 0 {
			m.say("waits for %s", strings.Join(p.GetWaiting(), ", "))
		}
	}
	return remote(s.node, err)
}

// snapshot passes the account, as the source has it, to the target.
func (m *movement) snapshot(ctx context.Context, send func(*admin.AccountPiece) error) error {
	pieces, err := admin.NewAccountClient(m.from.conn).Snapshot(ctx, &admin.AccountRequest{User: m.user, Subnet: m.from.subnet})
	if err != nil {
		return remote(m.from.node, err)
	}
	err = send(&admin.AccountPiece{User: m.user, Subnet: m.to.subnet})
	for err == nil {
		p, e := pieces.Recv()
		if errors.Is(e, io.EOF) {
			return nil
		}
		if e != nil {
			return remote(m.from.node, e)
		}
		err = send(p)
	}
	if errors.Is(err, io.EOF) {
		return nil // what was wrong comes with the answer
	}
	return remote(m.to.node, err)
}

// contents copies the contents that the target lacks, and returns how many.
func (m *movement) contents(ctx context.Context) (n int, err error) {
	missing, err := m.to.move.Missing(ctx)
	if err != nil {
		return 0, remote(m.to.node, err)
	}
	if err := m.snapshot(ctx, missing.Send); err != nil {
		return 0, err
	}
	if err := missing.CloseSend(); err != nil {
		return 0, remote(m.to.node, err)
	}
	take, err := m.to.move.Take(ctx)
	if err != nil {
		return 0, remote(m.to.node, err)
	}
	for {
		c, err := missing.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, remote(m.to.node, err)
		}
		if err := m.content(ctx, c.GetRoot(), take); err != nil {
			return n, err
		}
		n++
	}
	if _, err := take.CloseAndRecv(); err != nil {
		return n, remote(m.to.node, err)
	}
	return n, nil
}

func (m *movement) content(ctx context.Context, root []byte, take grpc.ClientStreamingClient[admin.ContentPiece, admin.TakeReply]) error {
	pieces, err := m.from.move.Content(ctx, &admin.ContentRequest{Subnet: m.from.subnet, Root: root})
	for {
		var p *admin.ContentPiece
		if err == nil {
			p, err = pieces.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return remote(m.from.node, err)
		}
		p.Subnet = m.to.subnet
		if e := take.Send(p); e != nil {
			_, e = take.CloseAndRecv()
			return remote(m.to.node, e)
		}
	}
}

// abort takes back a move that has not arrived.
func (m *movement) abort(ctx context.Context) error {
	source, target, err := m.where(ctx)
	if err != nil {
		return err
	}
	if target.in(m.to.subnet) && source.home == m.to.subnet {
		return fmt.Errorf("it has arrived in %s: give the command without -abort", m.to.subnet)
	}
	if target.home == m.to.subnet { // whoever takes it over another time has to know what has come of it
		if err := m.sendAway(ctx, m.to, m.from.subnet, ""); err != nil {
			return err
		}
	}
	return m.stay(ctx)
}

// stay has the account served where it was.
func (m *movement) stay(ctx context.Context) error {
	if err := m.settle(ctx, m.from, m.from.subnet); err != nil {
		return err
	}
	m.say("stays in %s", m.from.subnet)
	return nil
}

func (m *movement) say(format string, args ...any) {
	fmt.Fprintf(m.e.stdout, "user %d "+format+"\n", append([]any{m.user}, args...)...)
}
