package mailstore

import (
	"errors"
	"testing"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// bystander is an account that no operation of a fuzzed peer is likely to name.
const bystander crdt.AccountID = 1 << 30

// FuzzApply gives a replica any bytes as an operation of a peer: it must take
// them, one way or another, and stay able to serve.
func FuzzApply(f *testing.F) {
	valid := []crdt.Payload{
		&crdt.Subscribe{Name: "x", On: true},
		&crdt.Append{Box: crdt.Inbox, Messages: []crdt.Added{{UID: 40, Size: 3, Flags: []string{crdt.FlagSeen}}}, NewBody: true},
		&crdt.Expunge{Targets: []crdt.Instance{{Box: 3, Tag: crdt.Tag{Origin: 99, N: 1}}}},
		&crdt.Move{Dst: crdt.Inbox, Entries: []crdt.Moved{{New: crdt.Added{UID: 33}}}},
		&crdt.CreateMailbox{Boxes: []crdt.NewMailbox{{ID: crdt.NewMailboxID("A", 1), Name: "A", Generation: 1, C: 1}}},
		&crdt.Nudge{Box: crdt.Inbox, List: []crdt.TagUID{{UID: 5}}, H: 1 << 31},
	}
	for _, p := range valid {
		data, err := crdt.EncodeOp(&crdt.Op{Dot: crdt.Dot{Origin: 99, N: 1}, Time: 1 << 20, Account: testUser, Payload: p})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		n := newNode(t, 1)
		n.session().Close()
		e := causal.Entry{Dot: crdt.Dot{Origin: 99, N: 1}, Data: data}
		if err := n.Apply(ctxOf(t), []causal.Entry{e}); err != nil {
			t.Fatalf("the operation stops the replica: %v", err)
		}
		if !n.Logged().Has(e.Dot) {
			t.Fatal("the operation is not logged")
		}
		mustAppend(t, n.sessionOf(bystander), "INBOX", "life goes on")
		n.reopen()
		if err := n.Audit(bystander); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzLoad gives a replica any bytes as the entries of a piece, with a header and
// checksum that fit: it must refuse them or merge them, and stay able to serve.
func FuzzLoad(f *testing.F) {
	src := newNode(f, 2)
	s := src.session()
	mustAppend(f, s, "INBOX", "a", crdt.FlagSeen, "$Work")
	mustAppend(f, s, "Sent", "b")
	m := mustSelect(f, s, "INBOX")
	mustExpunge(f, m, tags(m.View()))
	mustAppend(f, s, "INBOX", "c")
	list, err := src.ListSnapshots()
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range src.pieces(testUser) {
		body := p[pieceHeader : len(p)-pieceSum]
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
	f.Fuzz(func(t *testing.T, entries []byte) {
		parsePiece(entries)
		n := newNode(t, 1)
		if err := n.BeginLoad(list); err != nil {
			t.Fatal(err)
		}
		err := n.FeedLoad(seal(append(pieceID{snapshot: 1, account: testUser}.begin(), entries...)))
		if err == nil {
			err = n.MergeLoad(ctxOf(t), testUser)
		}
		if err != nil && !errors.Is(err, ErrPiece) {
			t.Fatal(err)
		}
		if q, err := n.Quarantined(); err != nil || len(q) > 0 {
			t.Fatalf("merged in part: %v, %v", q, err)
		}
		if err := n.Examine(testUser, crdt.Audit); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, n.sessionOf(bystander), "INBOX", "life goes on")
	})
}

// FuzzRecords reads any bytes as each kind of value and key that this package
// parses itself.
func FuzzRecords(f *testing.F) {
	f.Add(trailer{size: 17, structure: []byte("s")}.append(nil))
	f.Add(replicaRecord{number: 1, origin: 2, slot: 3}.append(nil))
	f.Add(appendInstance(nil, crdt.Instance{Box: 1, Tag: crdt.Tag{Origin: 2, N: 3}}))
	f.Add(appendSubscription(nil, crdt.Register[bool]{Time: 5, Value: true}))
	f.Add(appendNote(nil, crdt.Register[crdt.Note]{Time: 5, Value: crdt.Note{There: true, Text: "x"}}))
	f.Add(appendAnnotation(nil, crdt.Annotation{Box: 7, Entry: "/shared/x"}))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	a := &account{r: &Replica{store: new(Store)}}
	f.Fuzz(func(t *testing.T, b []byte) {
		if tr, err := parseTrailer(b); err == nil {
			again, err := parseTrailer(tr.append(nil))
			if err != nil || again.size != tr.size || string(again.structure) != string(tr.structure) {
				t.Errorf("trailer %+v becomes %+v, %v", tr, again, err)
			}
		}
		if e, err := parseLogEntry(crdt.Dot{}, b); err == nil && len(e.Data)+len(e.Bodies)*rootLen > len(b) {
			t.Error("a log entry is longer than what it was read from")
		}
		if i, err := parseInstance(b); err == nil && string(appendInstance(nil, i)) != string(b) {
			t.Error("an instance is written otherwise than read")
		}
		if r, err := parseSubscription(b); err == nil && string(appendSubscription(nil, *r)) != string(b) {
			t.Error("a subscription is written otherwise than read")
		}
		if r, err := parseNote(b); err == nil && string(appendNote(nil, *r)) != string(b) {
			t.Error("an annotation's register is written otherwise than read")
		}
		if of, err := parseAnnotation(b); err == nil && string(appendAnnotation(nil, of)) != string(b) {
			t.Error("an annotation is written otherwise than read")
		}
		if r, err := parseReplicaRecord(b); err == nil && string(r.append(nil)) != string(b) {
			t.Error("a replica record is written otherwise than read")
		}
		if _, err := a.parseBox(b); err == nil && len(b) < boxHeader {
			t.Error("a mailbox of nothing")
		}
	})
}
