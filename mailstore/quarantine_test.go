package mailstore

import (
	"errors"
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// peer makes operations as another replica would, correct ones and others.
type peer struct {
	t      *testing.T
	origin crdt.Origin
	n      uint64
}

func (p *peer) op(user crdt.AccountID, payload crdt.Payload) causal.Entry {
	p.t.Helper()
	p.n++
	op := &crdt.Op{
		Dot: crdt.Dot{Origin: p.origin, N: p.n}, Time: crdt.TimeAt(crdt.EpochMillis+int64(1000*p.n), 2),
		Account: user, Payload: payload,
	}
	data, err := crdt.EncodeOp(op)
	if err != nil {
		p.t.Fatal(err)
	}
	return causal.Entry{Dot: op.Dot, Time: op.Time, Data: data}
}

func TestQuarantine(t *testing.T) {
	n := newNode(t, 1)
	healthy := testUser + 1
	mustAppend(t, n.session(), "INBOX", "before")
	n.sessionOf(healthy)
	p := &peer{t: t, origin: 99}

	garbage := p.op(testUser, &crdt.Subscribe{Name: "x", On: true})
	garbage.Data = garbage.Data[:len(garbage.Data)-1]
	ops := []causal.Entry{
		garbage,
		p.op(testUser, &crdt.Subscribe{Name: "z", On: true}),
		p.op(testUser+2, &crdt.Append{Box: 4711, Messages: []crdt.Added{{UID: 17}}}),
		p.op(healthy, &crdt.Subscribe{Name: "y", On: true}),
	}
	unreadable := p.op(healthy, &crdt.Subscribe{Name: "u", On: true})
	unreadable.Data = []byte{255, 1, 2}
	ops = append(ops, unreadable, p.op(healthy, &crdt.Subscribe{Name: "last", On: true}))
	if err := n.Apply(ctxOf(t), ops); err != nil {
		t.Fatalf("operations that cannot be applied stop the replica: %v", err)
	}
	if got := n.Logged().Get(p.origin); got != p.n {
		t.Errorf("%d operations are logged, want %d", got, p.n)
	}
	for _, when := range []string{"at once", "after a restart"} {
		if _, err := n.Open(ctxOf(t), testUser, testLogin, newSessionID()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: login to a quarantined account: %v, want ErrUnavailable", when, err)
		}
		q, err := n.Quarantined()
		if err != nil || len(q) != 2 || q[0].Account != testUser || q[1].Account != testUser+2 || q[0].Since != garbage.Dot || q[0].Reason == "" {
			t.Errorf("%s: quarantined: %+v, %v", when, q, err)
		}
		s := n.sessionOf(healthy)
		boxes, err := s.Mailboxes(ctxOf(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"y", "last"} {
			if !slices.ContainsFunc(boxes, func(b MailboxInfo) bool { return b.Name == name && b.Subscribed }) {
				t.Errorf("%s: a healthy account lacks what came to it (%q)", when, name)
			}
		}
		mustAppend(t, s, "INBOX", "life goes on")
		read, err := n.Read(p.origin, 1, 1<<20)
		if err != nil || len(read) != len(ops) {
			t.Fatalf("%s: log has %d operations, %v", when, len(read), err)
		}
		for i := range read {
			if !slices.Equal(read[i].Data, ops[i].Data) {
				t.Errorf("%s: operation %d is not passed on as it came", when, i+1)
			}
		}
		s.Close()
		n.reopen()
	}
}

// TestSessionsOfQuarantinedAccount: a session that is there when it happens is
// told so by whatever it does next.
func TestSessionsOfQuarantinedAccount(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one")
	v := m.View()
	p := &peer{t: t, origin: 99}
	bad := p.op(testUser, &crdt.Expunge{Targets: []crdt.Instance{{Box: 12345}}})
	if err := n.Apply(ctxOf(t), []causal.Entry{bad}); err != nil {
		t.Fatal(err)
	}
	_, statusErr := s.Status(ctxOf(t), "INBOX")
	_, _, storeErr := m.Store(ctxOf(t), tags(v), FlagChange{Op: crdt.StoreAdd, Flags: Seen})
	_, appendErr := tryAppend(ctxOf(t), s, "INBOX", "two")
	for what, err := range map[string]error{"STATUS": statusErr, "STORE": storeErr, "APPEND": appendErr} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", what, err)
		}
	}
	var metric dto.Metric
	if err := n.store.opts.Metrics.quarantined.Write(&metric); err != nil || metric.GetGauge().GetValue() != 1 {
		t.Errorf("metric says %v, %v", &metric, err)
	}
}
