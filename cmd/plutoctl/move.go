package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/config"
)

var moveCommand = command{
	name: "user move", args: "USER[-USER] SUBNET", about: "moves users to another subnet while they work; go on with what was interrupted by giving it again", run: moveUsers,
}

// moveUsers moves one user after the other.
func moveUsers(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("user move", "USER[-USER] SUBNET [-from SUBNET] [-abort]")
	from := set.String("from", "", "the `subnet` where they live (default that whose range they are in)")
	abort := set.Bool("abort", false, "take back what was begun: the users stay where they are")
	if err := set.Parse(args); err != nil {
		return err
	}
	first, last, err := userRange(set.Arg(0))
	if err != nil {
		set.Usage()
		return err
	}
	subnet, err := e.nodeArg(set, set.Args()[1:])
	if err != nil {
		return err
	}
	for user := uint64(first); user <= uint64(last); user++ {
		m, err := e.newMove(uint32(user), *from, subnet)
		if err != nil {
			return err
		}
		if *abort {
			err = m.abort(ctx)
		} else {
			err = m.run(ctx)
		}
		if err = errors.Join(err, m.close()); err != nil {
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
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	if from == "" {
		from = cfg.SubnetOf(user)
	}
	m := &movement{e: e, user: user}
	for s, subnet := range map[*side]string{&m.from: from, &m.to: to} {
		if *s, err = e.side(cfg, subnet); err != nil {
			return nil, errors.Join(err, m.close())
		}
	}
	if from == to {
		return nil, errors.Join(fmt.Errorf("user %d lives in %s; say with -from where it was moved to", user, to), m.close())
	}
	return m, nil
}

// side connects to the first node of a subnet that the file names.
func (e *environment) side(cfg *config.Config, subnet string) (side, error) {
	list := cfg.ReplicasIn(subnet)
	if len(list) == 0 {
		return side{}, fmt.Errorf("%s names no node of subnet %q", cfg.Path, subnet)
	}
	conn, err := e.dial(list[0].Name)
	if err != nil {
		return side{}, err
	}
	return side{subnet, list[0].Name, conn, admin.NewMoveClient(conn)}, nil
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

// where asks both sides. arrived: the account lives in the target's subnet, as that knows.
func (m *movement) where(ctx context.Context) (source *admin.WhereReply, arrived bool, err error) {
	source, err = m.from.move.Where(ctx, &admin.MoveRequest{Subnet: m.from.subnet, User: m.user})
	if err != nil {
		return nil, false, remote(m.from.node, err)
	}
	target, err := m.to.move.Where(ctx, &admin.MoveRequest{Subnet: m.to.subnet, User: m.user})
	if err != nil {
		return nil, false, remote(m.to.node, err)
	}
	arrived = target.GetHome() == m.to.subnet && target.GetTarget() == ""
	if target.GetHome() != "" && !arrived {
		return nil, false, fmt.Errorf("it has lived in %s before, and its remains are there: it cannot move back", m.to.subnet)
	}
	return source, arrived, nil
}

// run does what is left to be done.
func (m *movement) run(ctx context.Context) error {
	source, arrived, err := m.where(ctx)
	if err != nil {
		return err
	}
	if home := source.GetHome(); home != "" && home != m.from.subnet && home != m.to.subnet {
		return fmt.Errorf("it was moved from %s to %s: give -from %s", m.from.subnet, home, home)
	}
	if arrived && source.GetHome() == m.to.subnet && source.GetTarget() == "" {
		m.say("lives in %s", m.to.subnet)
		return nil
	}
	if !arrived {
		if err := m.transfer(ctx); err != nil {
			return err
		}
	}
	req := &admin.MoveRequest{Subnet: m.from.subnet, User: m.user, To: m.to.subnet}
	if _, err := m.from.move.Settle(ctx, req); err != nil {
		return remote(m.from.node, err)
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
	if err := m.sendAway(ctx); err != nil {
		return err
	}
	if n, err = m.contents(ctx); err != nil {
		return err
	}
	m.say("%d more contents copied", n)
	in, err := m.to.move.Import(ctx)
	if err != nil {
		return remote(m.to.node, err)
	}
	if err := m.snapshot(ctx, in.Send); err != nil {
		return err
	}
	if _, err := in.CloseAndRecv(); err != nil {
		return remote(m.to.node, err)
	}
	return nil
}

// sendAway returns when nothing can come any more that belongs to the account.
func (m *movement) sendAway(ctx context.Context) error {
	stream, err := m.from.move.SendAway(ctx, &admin.MoveRequest{Subnet: m.from.subnet, User: m.user, To: m.to.subnet, Target: m.to.node})
	for err == nil {
		var p *admin.AwayProgress
		if p, err = stream.Recv(); err == nil && p.GetFinal() {
			return nil
		}
		if len(p.GetWaiting()) > 0 {
			m.say("waits for %s", strings.Join(p.GetWaiting(), ", "))
		}
	}
	return remote(m.from.node, err)
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
	_, arrived, err := m.where(ctx)
	if err != nil {
		return err
	}
	if arrived {
		return fmt.Errorf("it has arrived in %s: give the command without -abort", m.to.subnet)
	}
	req := &admin.MoveRequest{Subnet: m.from.subnet, User: m.user, To: m.from.subnet}
	if _, err := m.from.move.Settle(ctx, req); err != nil {
		return remote(m.from.node, err)
	}
	m.say("stays in %s", m.from.subnet)
	return nil
}

func (m *movement) say(format string, args ...any) {
	fmt.Fprintf(m.e.stdout, "user %d "+format+"\n", append([]any{m.user}, args...)...)
}
