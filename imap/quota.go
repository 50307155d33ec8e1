package imap

import (
	"strconv"

	"github.com/go-pluto/pluto/imap/wire"
)

// There is one quota root, for all mailboxes; its name is the empty string (RFC
// 9208 section 3.1.2).
const quotaRoot = ""

// getQuota: RFC 9208 section 4.1.2.
func (s *session) getQuota(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	root, err := c.AString()
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if root != quotaRoot {
		return &refusal{"NONEXISTENT", "No such quota root"}
	}
	return s.tellQuota()
}

// getQuotaRoot: RFC 9208 section 4.1.3.
func (s *session) getQuotaRoot(c *wire.Command) error {
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
	if _, err := s.account.Status(s.ctx, name); err != nil {
		return err
	}
	s.out.buf = append(s.out.buf, "* QUOTAROOT "...)
	s.out.buf = s.appendMailbox(s.out.buf, name)
	s.out.buf = append(s.out.buf, " \"\"\r\n"...)
	return s.tellQuota()
}

// setQuota: RFC 9208 section 4.1.4. Limits are the administrator's to set, in the
// directory; QUOTASET is not among the capabilities.
func (s *session) setQuota(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	if _, err := c.AString(); err != nil {
		return err
	}
	if err := c.SP(); err != nil {
		return err
	}
	if err := readQuotaList(c); err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	return &refusal{"NOPERM", "Quotas are set by the administrator"}
}

// readQuotaList reads resources with their limits in parentheses.
func readQuotaList(c *wire.Command) error {
	if err := c.Expect('('); err != nil {
		return err
	}
	for first := true; !c.Byte(')'); first = false {
		if !first {
			if err := c.SP(); err != nil {
				return err
			}
		}
		if _, err := c.Atom(); err != nil {
			return err
		}
		if err := c.SP(); err != nil {
			return err
		}
		if _, err := c.Number64(); err != nil {
			return err
		}
	}
	return nil
}

// tellQuota appends the QUOTA response (RFC 9208 section 4.2.1): the resources that
// are limited.
func (s *session) tellQuota() error {
	q, err := s.account.Quota(s.ctx)
	if err != nil {
		return err
	}
	buf := append(s.out.buf, "* QUOTA \"\" ("...)
	separator := ""
	if q.Storage.Limit > 0 {
		// In units of 1024 bytes: what is begun is used (section 5.1).
		buf = appendResource(buf, "STORAGE", Resource{(q.Storage.Used + 1023) / 1024, q.Storage.Limit / 1024})
		separator = " "
	}
	if q.Messages.Limit > 0 {
		buf = appendResource(append(buf, separator...), "MESSAGE", q.Messages)
	}
	s.out.buf = append(buf, ")\r\n"...)
	return s.out.spill()
}

func appendResource(dst []byte, name string, r Resource) []byte {
	dst = append(append(dst, name...), ' ')
	dst = strconv.AppendUint(dst, r.Used, 10)
	return strconv.AppendUint(append(dst, ' '), r.Limit, 10)
}

// room says early that a message cannot be taken: the upload is saved.
func (s *session) room(size int64, to *destination) error {
	q, err := s.account.Quota(s.ctx)
	if err != nil {
		return err
	}
	if l := q.Messages; to.frees < 0 && l.Limit > 0 && l.Used+uint64(to.count) >= l.Limit {
		return ErrOverQuota
	}
	more := size + to.size - max(to.frees, 0)
	if l := q.Storage; more > 0 && l.Limit > 0 && l.Used+uint64(more) > l.Limit {
		return ErrOverQuota
	}
	return nil
}

// deletedStorage returns the size of the messages that an EXPUNGE would remove
// (RFC 9208 section 4.1.5). It looks at each: hardly anybody asks.
func (s *session) deletedStorage(name string) (uint64, error) {
	box, err := s.account.Select(s.ctx, name, true)
	if err != nil {
		return 0, err
	}
	defer box.Close()
	view, sum := box.View(), uint64(0)
	for i := range view.Len() {
		if view.At(i, &s.scratch); s.scratch.Flags&Deleted != 0 {
			sum += uint64(s.scratch.Size)
		}
	}
	return sum, nil
}
