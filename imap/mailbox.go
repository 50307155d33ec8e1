package imap

import (
	"errors"
	"strings"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/imap/wire"
)

// create: RFC 3501 section 6.3.3, with the USE parameter of RFC 6154 section 3.
func (s *session) create(c *wire.Command) error {
	name, err := s.mailbox(c)
	if err != nil {
		return err
	}
	use, err := readUse(c)
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	// Inferiors are possible below every mailbox.
	name = s.trimLevel(name)
	if err := s.validName(name); err != nil {
		return err
	}
	if name == "INBOX" {
		return ErrAlreadyExists
	}
	err = s.account.Create(s.ctx, name, use)
	if use != "" && errors.Is(err, ErrCannot) { // RFC 6154 section 3
		return &refusal{"USEATTR", "A mailbox with that special use exists"}
	}
	if err != nil {
		return err
	}
	s.tellCreated(name)
	return s.tellNormalised(name, "")
}

// tellCreated makes the identity of a new mailbox the response code (RFC 8474
// section 4.1). That it cannot be had does not undo the creation.
func (s *session) tellCreated(name string) {
	st, err := s.account.Status(s.ctx, name)
	if err != nil {
		level.Warn(s.log).Log("msg", "identity of a new mailbox not told", "err", err)
		return
	}
	s.code = append(append(append(s.code, "MAILBOXID ("...), st.MailboxID...), ')')
}

// specialUses are the attributes of RFC 6154 that a mailbox may have here.
// \All and \Flagged would be views of other mailboxes.
var specialUses = [...]string{`\Archive`, `\Drafts`, `\Junk`, `\Sent`, `\Trash`}

// readUse reads the optional "(USE (\Attribute))" of CREATE.
func readUse(c *wire.Command) (string, error) {
	if c.EOL() {
		return "", nil
	}
	if err := c.SP(); err != nil {
		return "", err
	}
	if err := c.Expect('('); err != nil {
		return "", err
	}
	if param, err := c.Atom(); err != nil || !strings.EqualFold(param, "USE") {
		return "", either(err, "Unknown parameter")
	}
	if err := c.SP(); err != nil {
		return "", err
	}
	uses, err := c.FlagList()
	if err != nil {
		return "", err
	}
	if err := c.Expect(')'); err != nil {
		return "", err
	}
	if len(uses) == 0 {
		return "", nil
	}
	for _, known := range specialUses {
		if len(uses) == 1 && strings.EqualFold(known, uses[0]) {
			return known, nil
		}
	}
	return "", &refusal{"USEATTR", "A mailbox cannot have that special use here"}
}

// either returns err, or a syntax error with the text if there is none.
func either(err error, text string) error {
	if err != nil {
		return err
	}
	return badSyntax(text)
}

// delete: RFC 3501 section 6.3.4. Deleting the mailbox that is selected leaves
// no mailbox selected.
func (s *session) delete(c *wire.Command) error {
	name, err := s.mailbox(c)
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if err := s.existing(name); err != nil {
		return err
	}
	if err := s.account.Delete(s.ctx, name); err != nil {
		return err
	}
	// Not by name: it may have been renamed since it was selected.
	if s.box != nil && s.box.mailbox.Gone() {
		s.closeMailbox()
		s.out.line("OK [CLOSED] The selected mailbox was deleted")
	}
	return s.tellNormalised(name, `\NonExistent`)
}

// rename: RFC 3501 section 6.3.5.
func (s *session) rename(c *wire.Command) error {
	from, err := s.mailbox(c)
	if err != nil {
		return err
	}
	to, err := s.mailbox(c)
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if err := s.existing(from); err != nil {
		return err
	}
	to = s.trimLevel(to)
	if err := s.validName(to); err != nil {
		return err
	}
	if to == "INBOX" || to == from {
		return ErrAlreadyExists
	}
	if s.box != nil {
		s.stateDirty = stateChanged // its name may be another one now
	}
	if err := s.account.Rename(s.ctx, from, to); err != nil {
		return err
	}
	return s.tellNormalised(to, "")
}

// subscribe: RFC 3501 section 6.3.6. The mailbox need not exist.
func (s *session) subscribe(c *wire.Command) error { return s.setSubscribed(c, true) }

// unsubscribe: RFC 3501 section 6.3.7. Names that are not subscribed are fine.
func (s *session) unsubscribe(c *wire.Command) error { return s.setSubscribed(c, false) }

func (s *session) setSubscribed(c *wire.Command, on bool) error {
	name, err := s.mailbox(c)
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if name = strings.TrimSuffix(name, string(s.opts.Separator)); name == "" {
		return &refusal{"CANNOT", "Mailbox name is empty"}
	}
	if err := s.validName(name); err != nil {
		return err
	}
	return s.account.Subscribe(s.ctx, name, on)
}
