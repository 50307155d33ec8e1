package crdt

import (
	"fmt"
	"reflect"
)

// Bounds that no operation of a correct replica exceeds.
const (
	maxTime  Time = 1<<53 - 1
	maxSize       = 1 << 40
	maxLogin      = 1024
)

// Apply is the effect of an operation, of an own one and of a peer's alike. It
// must be called in causal order; an operation that the account's vector
// contains is ignored, and so is whatever it says about messages that are gone.
//
// followup are operations that this replica must prepare itself because of it,
// best in the same transaction: re-issued UIDs and repaired UIDVALIDITYs. If they
// are lost, [Site.Tick] or another replica makes up for it.
//
// An error that wraps [ErrImpossible] is about the operation, and nothing was
// changed. Any other is the medium's, and the transaction must be dropped.
func (s *Site) Apply(op *Op) (followup []Payload, err error) {
	w := &work{Site: s, op: op}
	if err := w.header(); err != nil {
		return nil, err
	}
	a, err := s.State.Account()
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	if a.Vector.Has(op.Dot) {
		return nil, nil
	}
	if err := op.Payload.check(w); err != nil {
		return nil, fmt.Errorf("%T %s/%d: %w", op.Payload, op.Dot.Origin, op.Dot.N, err)
	}
	if op.Dot.Origin == s.Self.Origin && a.Replays > 0 {
		if err := w.checkAttempt(); err != nil {
			return nil, fmt.Errorf("%T %s/%d: %w", op.Payload, op.Dot.Origin, op.Dot.N, err)
		}
	}
	a.Vector.Add(op.Dot)
	if tag, ok := op.recovered(); ok {
		a.noteRecovered(tag)
	}
	if err := s.State.PutAccount(a); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	if err := w.run(); err != nil {
		return nil, fmt.Errorf("%T %s/%d: %w", op.Payload, op.Dot.Origin, op.Dot.N, err)
	}
	return w.followup, nil
}

func (w *work) run() error {
	if err := w.op.Payload.effect(w); err != nil {
		return err
	}
	return w.finish()
}

// finish does what is left when the effect is done.
func (w *work) finish() error {
	if err := w.decideTwins(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.followup = append(w.followup, w.redone()...)
	due, err := w.mayNeedFix()
	if err != nil || !due {
		return err
	}
	touch, err := w.Fix()
	w.followup = append(w.followup, touch...)
	return err
}

// mayNeedFix reports whether [Site.Fix] could find something after this
// operation, which most never do: it reads all records, this only those that the
// operation has touched. A record needs a larger UIDVALIDITY if it is below what
// its name has had; that another one of the name does follows only from a rename.
func (w *work) mayNeedFix() (bool, error) {
	if w.renamed || !w.listed {
		return w.renamed, nil
	}
	for _, b := range w.boxes {
		if !b.Live() {
			continue
		}
		used, err := w.State.Used(b.Name.Value)
		if err != nil {
			return false, fmt.Errorf("UIDVALIDITY of %q: %w", b.Name.Value, err)
		}
		if b.Validity() < used {
			return true, nil
		}
	}
	return false, nil
}

// IsNil reports whether a payload is nothing to do: nil, or the nil result of a
// prepare that was put into the interface.
func IsNil(p Payload) bool {
	return p == nil || reflect.ValueOf(p).IsNil()
}

func impossible(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrImpossible, fmt.Sprintf(format, args...))
}

// header checks what all operations have in common.
func (w *work) header() error {
	switch op := w.op; {
	case op == nil || IsNil(op.Payload):
		return impossible("no payload")
	case op.Dot.Origin == 0 || op.Dot.N == 0:
		return impossible("dot %s/%d", op.Dot.Origin, op.Dot.N)
	case op.Time.Slot() == 0 || op.Time > maxTime:
		return impossible("time %d", op.Time)
	case op.Deps.Has(op.Dot):
		return impossible("depends on itself")
	}
	return nil
}

// eraOf returns the era of a mailbox, 0 of one that does not exist yet.
func (w *work) eraOf(id MailboxID) (uint32, error) {
	b, err := w.box(id)
	if b == nil || err != nil {
		return 0, err
	}
	return b.Era(), nil
}

// checkBox finds the mailbox that an operation refers to. Records are kept for
// ever and made before they are referred to.
func (w *work) checkBox(id MailboxID) error {
	b, err := w.box(id)
	if err != nil {
		return err
	}
	if b == nil {
		return impossible("mailbox %x never existed", uint64(id))
	}
	return nil
}

func (w *work) checkInstances(list []Instance) error {
	for i := range list {
		if i > 0 && list[i].Box == list[i-1].Box {
			continue
		}
		if err := w.checkBox(list[i].Box); err != nil {
			return err
		}
	}
	return nil
}

// checkIssued makes sure that the origin may issue this UID in a mailbox that is
// in an era: a replica with a wrong slot must not give a UID that others give,
// too, and every era was begun before a UID of it is given.
func (w *work) checkIssued(era uint32, u UID) error {
	if err := checkUID(era, u); err != nil {
		return err
	}
	if slot := w.op.Time.Slot(); u.slot() != slot {
		return impossible("UID %d of slot %d issued by slot %d", u, u.slot(), slot)
	}
	return nil
}

func checkUID(era uint32, u UID) error {
	if u.Number() == 0 || u.Number() > MaxNumber || u.Era() > era {
		return impossible("UID %d of era %d in era %d", u.Number(), u.Era(), era)
	}
	return nil
}

func (w *work) checkAdded(era uint32, a *Added) error {
	if err := w.checkIssued(era, a.UID); err != nil {
		return err
	}
	return a.check()
}

// check is about all but the UID.
func (a *Added) check() error {
	if a.Size > maxSize {
		return impossible("message of %d bytes", a.Size)
	}
	return checkFlags(a.Flags)
}

func checkFlags(flags []string) error {
	for _, f := range flags {
		if err := checkFlag(f); err != nil {
			return impossible("%v", err)
		}
	}
	return nil
}

func checkRegisters(flags []Flag) error {
	for i := range flags {
		if err := checkFlag(flags[i].Name); err != nil {
			return impossible("%v", err)
		}
		if flags[i].Time > maxTime {
			return impossible("flag of time %d", flags[i].Time)
		}
	}
	return nil
}
