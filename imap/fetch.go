package imap

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// fetch: RFC 3501 section 6.4.5.
func (s *session) fetch(c *wire.Command) error { return s.fetchItems(c, false) }

// uidFetch: RFC 3501 section 6.4.8.
func (s *session) uidFetch(c *wire.Command) error { return s.fetchItems(c, true) }

func (s *session) fetchItems(c *wire.Command, uid bool) error {
	spans, set, err := s.readPlaces(c, uid)
	if err != nil {
		return err
	}
	a, err := readFetch(c, uid)
	if err != nil {
		return err
	}
	if a.vanished && !s.on(modeQResync) {
		return badSyntax("VANISHED needs ENABLE QRESYNC")
	}
	if uid {
		if err := s.witness(openFrom(set)); err != nil {
			return err
		}
	}
	s.box.refresh()
	if spans = a.narrow(spans); a.changed {
		if spans, err = s.changedSince(&a, set, spans); err != nil {
			return err
		}
	}
	if a.modSeq {
		s.switchOn(modeCondStore)
	}
	f := fetcher{session: s, box: s.box, fetchArgs: a, addUID: uid && !a.uid}
	if a.seen && !s.box.readOnly {
		if err := f.see(spans); err != nil {
			return err
		}
	}
	if s.box.newKeywords() {
		s.appendFlagsResponse(s.box)
	}
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			if err := f.message(i); err != nil {
				return err
			}
		}
	}
	if f.failed != nil { // what was not said is said by the sync
		return f.failed
	}
	if a.flags && (a.modSeq || !s.on(modeCondStore)) {
		s.box.announce(spans)
	} else {
		s.box.announce(f.saw)
	}
	return nil
}

// fetcher is a FETCH being executed.
type fetcher struct {
	*session
	fetchArgs
	box    *selection
	addUID bool
	saw    []span // places of the messages that \Seen was set for
	failed error  // why a message could not be fetched; the others can

	structure *mime.Structure // of the current message, if needed
	body      Body
	header    []byte // kept for the next message's
}

// see sets \Seen for all messages that do not have it, in one change.
func (f *fetcher) see(spans []span) error {
	var keys []MessageKey
	m, change := &f.scratch, FlagChange{Op: FlagsAdd, Flags: Seen}
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			there := f.box.message(i, m)
			if m.Flags&Seen != 0 {
				continue
			}
			f.saw = addPlace(f.saw, i)
			keys = append(keys, m.Key)
			if !there {
				change.apply(m)
				f.box.haunt(m)
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	view, _, err := f.box.mailbox.Store(f.ctx, keys, change)
	if err == nil {
		f.box.advance(view)
		return nil
	}
	if isMailError(err) { // the message can be read all the same
		level.Debug(f.log).Log("msg", "seen flag not set", "err", err)
		f.saw = nil
		return nil
	}
	return err
}

// message appends the response for the message at a place in told. Its error
// ends the command; a message that cannot be had only makes the command fail.
func (f *fetcher) message(i int) error {
	m := &f.scratch
	f.box.message(i, m)
	if err := f.prepare(m); err != nil {
		if !isMailError(err) && err != errUnknownCTE {
			return err
		}
		if f.failed == nil || errors.Is(err, ErrUnavailable) {
			f.failed = err
		}
		return nil
	}
	defer f.release()
	f.out.buf = appendFetch(f.out.buf, i)
	separator := ""
	if f.addUID {
		f.out.buf = appendUID(f.out.buf, m.UID)
		separator = " "
	}
	if len(f.saw) > 0 && contains(f.saw, i) {
		separator = f.appendSeen(m, separator)
	}
	for k := range f.items {
		f.out.buf = append(f.out.buf, separator...)
		if err := f.item(&f.items[k], m); err != nil {
			return err
		}
		separator = " "
	}
	f.out.buf = append(f.out.buf, ")\r\n"...)
	return f.out.spill()
}

// appendSeen appends what the client must hear of a message that has become
// \Seen, as far as it is not among the items (RFC 3501 section 6.4.5, RFC 7162 section 3.2.4).
func (f *fetcher) appendSeen(m *Message, separator string) string {
	buf := f.out.buf
	if f.on(modeCondStore|modeRev2) && !f.uid && !f.addUID {
		buf = appendUID(append(buf, separator...), m.UID)
		separator = " "
	}
	if !f.flags {
		buf = appendFlags(append(buf, separator...), m, f.box.isRecent(m.UID))
		separator = " "
	}
	if f.on(modeCondStore) && !f.modSeq {
		buf = f.appendModSeq(append(buf, separator...), m)
		separator = " "
	}
	f.out.buf = buf
	return separator
}

// prepare gets what the items need of a message, before anything of it is
// written.
func (f *fetcher) prepare(m *Message) (err error) {
	if f.fetchArgs.body {
		if f.body, err = f.account.Body(f.ctx, m); err != nil {
			return fmt.Errorf("fetch the body: %w", err)
		}
	}
	if f.fetchArgs.structure {
		if f.structure, err = f.structureOf(m, f.body); err != nil {
			f.release()
			return err
		}
	}
	if f.fetchArgs.binary && !f.decodable() {
		f.release()
		return errUnknownCTE
	}
	if f.lazy {
		return f.prepareLazy(m)
	}
	return nil
}

func (f *fetcher) release() {
	f.structure = nil
	if f.body == nil {
		return
	}
	if err := f.body.Close(); err != nil {
		level.Warn(f.log).Log("msg", "body not closed", "err", err)
	}
	f.body = nil
}

// structureOf returns the structure of a message: what was kept when it was
// appended, or if that cannot be read (another version made it) what the body
// says. body may be nil.
func (s *session) structureOf(m *Message, body Body) (*mime.Structure, error) {
	data, err := s.account.Structure(s.ctx, m)
	if err != nil {
		return nil, fmt.Errorf("fetch the structure: %w", err)
	}
	structure, err := mime.Decode(data)
	if err == nil {
		return structure, nil
	}
	level.Warn(s.log).Log("msg", "structure not readable, parsing the message", "err", err)
	if body == nil {
		if body, err = s.account.Body(s.ctx, m); err != nil {
			return nil, fmt.Errorf("fetch the body: %w", err)
		}
		defer body.Close()
	}
	structure, err = mime.Parse(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return nil, fmt.Errorf("parse the message: %w", err)
	}
	return structure, nil
}

// item appends one data item.
func (f *fetcher) item(it *fetchItem, m *Message) error {
	buf := f.out.buf
	switch it.kind {
	case fetchUID:
		buf = appendUID(buf, m.UID)
	case fetchFlags:
		buf = appendFlags(buf, m, f.box.isRecent(m.UID))
	case fetchDate:
		buf = wire.AppendDateTime(append(buf, "INTERNALDATE "...), m.InternalDate())
	case fetchSize:
		buf = strconv.AppendInt(append(buf, "RFC822.SIZE "...), m.Size, 10)
	case fetchEnvelope:
		buf = f.structure.AppendEnvelope(append(buf, "ENVELOPE "...))
	case fetchBody:
		buf = f.structure.AppendBody(append(buf, "BODY "...), false)
	case fetchBodyStructure:
		buf = f.structure.AppendBody(append(buf, "BODYSTRUCTURE "...), true)
	case fetchModSeq:
		buf = f.appendModSeq(buf, m)
	case fetchSaveDate: // RFC 8514 section 4.2
		buf = wire.AppendDateTime(append(buf, "SAVEDATE "...), time.Unix(m.Saved, 0).UTC())
	case fetchEmailID:
		buf = append(appendEmailID(append(buf, "EMAILID ("...), m.Root), ')')
	case fetchThreadID:
		buf = append(appendThreadID(append(buf, "THREADID ("...), f.structure, m.Root), ')')
	case fetchSection:
		return f.section(it)
	case fetchBinary:
		return f.binary(it)
	case fetchBinarySize:
		return f.binarySize(it)
	case fetchPreview, fetchLazyPreview:
		return f.preview()
	}
	f.out.buf = buf
	return nil
}
