package mailnode

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/tunnel"
	"github.com/go-pluto/pluto/mailstore"
)

// service runs the sessions that distributors open.
type service struct {
	members []*member
	options imap.Options
	quota   mailstore.Amount // of users of whom the directory says nothing
	logger  log.Logger
}

// run is a tunnel.Handler: one session from its opening to its end.
func (s *service) run(ctx context.Context, open *tunnel.Open, conn *tunnel.Conn) error {
	session, ok := sessionID(open.GetSession())
	if !ok {
		return fmt.Errorf("%w: a session ID has 16 bytes, not %d", tunnel.ErrProtocol, len(open.GetSession()))
	}
	logger := log.With(s.logger, "user", open.GetUserId(), "session", hex.EncodeToString(session[:4]), "remote", open.GetRemote())
	m, refusal := s.find(open.GetUserId(), open.GetSubnet())
	var account account
	if refusal == nil {
		account, refusal = s.openOn(ctx, m, open, session, conn.Leased)
	}
	if refusal != nil && refusal.moved != "" {
		return conn.Moved(refusal.moved)
	}
	if refusal != nil {
		level.Warn(logger).Log("msg", "session refused", "reason", refusal.reason, "err", refusal.err)
		return conn.Refuse(refusal.reason, refusal.err.Error())
	}
	defer account.Close()
	defer m.group.Session(crdt.AccountID(open.GetUserId()))()
	ctx, leave := m.present.enter(ctx, crdt.AccountID(open.GetUserId()))
	defer leave()
	defer context.AfterFunc(ctx, conn.Leave)()

	options := s.options
	options.Tag = open.GetTag()
	options.Client = open.GetClientId()
	options.Logger = logger
	options.Resume = resumption(open)
	err := imap.Serve(ctx, newEngineConn(conn, open), account, options)
	if errors.Is(err, imap.ErrNotResumed) {
		level.Warn(logger).Log("msg", "session refused", "err", err)
		return conn.Refuse(notResumed(err), err.Error())
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, errQuarantined) {
		err = cause // no Bye: the distributor takes the session elsewhere
	}
	if errors.Is(cause, tunnel.ErrLapsed) || errors.Is(cause, errQuarantined) {
		level.Warn(logger).Log("msg", "session dropped", "err", cause)
	} else if err != nil && cause == nil {
		level.Warn(logger).Log("msg", "session ended", "err", err)
	}
	return err
}

func sessionID(b []byte) (id imap.SessionID, ok bool) {
	return id, copy(id[:], b) == len(id) && len(b) == len(id)
}

// refusal says why a session is not opened here.
type refusal struct {
	reason tunnel.Refused_Reason
	err    error
	moved  string // MOVED: the subnet where the account lives
}

// open finds the user's replica and opens the account, whose every commit asks
// fence first.
func (s *service) open(ctx context.Context, open *tunnel.Open, session imap.SessionID, fence func() error) (account, *refusal) {
	m, refusal := s.find(open.GetUserId(), open.GetSubnet())
	if refusal != nil {
		return account{}, refusal
	}
	return s.openOn(ctx, m, open, session, fence)
}

// openOn is open with a replica that is known.
func (s *service) openOn(ctx context.Context, m *member, open *tunnel.Open, session imap.SessionID, fence func() error) (account, *refusal) {
	if err := m.mayServe(); err != nil {
		return account{}, &refusal{reason: tunnel.Refused_UNAVAILABLE, err: err}
	}
	if open.GetCheckpoint() == nil { // otherwise it says what has to be here
		if err := m.catchUp(ctx, crdt.AccountID(open.GetUserId())); err != nil {
			return account{}, &refusal{reason: tunnel.Refused_UNAVAILABLE, err: err}
		}
	}
	if err := fence(); err != nil {
		return account{}, &refusal{reason: tunnel.Refused_UNAVAILABLE, err: err}
	}
	a, err := openAccount(ctx, m.replica, imap.UserID(open.GetUserId()), open.GetLogin(), session)
	switch {
	case errors.Is(err, imap.ErrContactAdmin):
		return account{}, &refusal{reason: tunnel.Refused_CONTACT_ADMIN, err: err}
	case err != nil:
		return account{}, &refusal{reason: tunnel.Refused_UNAVAILABLE, err: err}
	}
	a.Fence(fence)
	a.SetQuota(s.quotaOf(open))
	a.texts = m.textsOf(crdt.AccountID(open.GetUserId()))
	if err := a.awaitPast(ctx, open); err != nil {
		a.Close()
		return account{}, &refusal{reason: tunnel.Refused_BEHIND, err: err}
	}
	return a, nil
}

// quotaOf returns the limits of a user.
func (s *service) quotaOf(open *tunnel.Open) mailstore.Amount {
	limit := s.quota
	if open.QuotaStorage != nil {
		limit.Storage = open.GetQuotaStorage()
	}
	if open.QuotaMessages != nil {
		limit.Messages = open.GetQuotaMessages()
	}
	return limit
}

// catchUp waits, for a second at most, until what the peers in reach have is here
// too (crdt.md 4.3): before a session of a user who is at home elsewhere, or who
// was there lately. It never delays others.
func (m *member) catchUp(ctx context.Context, user crdt.AccountID) error {
	if m.primary && !m.group.UsedElsewhere(user) {
		return nil
	}
	if _, err := m.group.Barrier(ctx); err != nil {
		return fmt.Errorf("catch up with peers: %w", err)
	}
	return nil
}

func (s *service) memberFor(user uint32) *member {
	for _, m := range s.members {
		if m.subnet.Users.Contains(user) {
			return m
		}
	}
	return nil
}

// mayServe returns why sessions are not taken now, nil if they are.
func (m *member) mayServe() error { return serves(m.group.Status()) }

// serves returns why a replica does not serve, nil if it does.
func serves(s comm.Status) error {
	switch {
	case s.Fault != nil:
		return fmt.Errorf("subnet %s: %w", s.Subnet, s.Fault)
	case !s.Confirmed:
		return fmt.Errorf("subnet %s: no peer has confirmed slot %d of this new replica yet (or start it with -bootstrap)", s.Subnet, s.Slot)
	case !s.Joined && s.Loading:
		return fmt.Errorf("subnet %s: this replica is new and not complete yet: %v", s.Subnet, s.Load)
	case !s.Ready():
		return fmt.Errorf("subnet %s: this replica is new and has not caught up with any peer yet", s.Subnet)
	}
	return nil
}
