package imap

import (
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// events is a set of event types (RFC 5465 section 5). MessageNew and
// MessageExpunge go together.
type events uint8

const (
	eventMessages events = 1 << iota
	eventFlags
	eventNames
	eventSubscriptions
	eventMailboxNotes // annotations of mailboxes
	eventServerNotes  // and of the account
)

// supportedEvents are the events that can be asked for, as BADEVENT lists them.
const supportedEvents = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)"

// eventFilter says which mailboxes a group of events is about.
type eventFilter uint8

const (
	filterSelected eventFilter = iota // SELECTED and SELECTED-DELAYED
	filterPersonal                    // all: PERSONAL, and INBOXES too (RFC 5465 section 6.3)
	filterSubscribed
	filterSubtree
	filterMailboxes
)

var eventFilters = map[string]eventFilter{
	"SELECTED": filterSelected, "SELECTED-DELAYED": filterSelected,
	"PERSONAL": filterPersonal, "INBOXES": filterPersonal, "SUBSCRIBED": filterSubscribed,
	"SUBTREE": filterSubtree, "MAILBOXES": filterMailboxes,
}

// eventGroup are the events of certain mailboxes.
type eventGroup struct {
	filter     eventFilter
	delayed    bool // SELECTED-DELAYED
	names      []string
	events     events
	attributes *fetchArgs // to be told of new messages, nil: none
}

// notifyArgs are the arguments of NOTIFY. The zero value is NOTIFY NONE.
type notifyArgs struct {
	set, status bool
	selected    eventGroup
	groups      []eventGroup // without that
	all         events       // of these groups
}

// readNotify reads the arguments of NOTIFY to the end of the command (RFC 5465
// section 8).
func (s *session) readNotify(c *wire.Command) (a notifyArgs, err error) {
	if err := c.SP(); err != nil {
		return a, err
	}
	word, err := c.Atom()
	if err != nil {
		return a, err
	}
	if strings.EqualFold(word, "NONE") {
		return a, c.End()
	}
	if !strings.EqualFold(word, "SET") {
		return a, badSyntax("Expected SET or NONE")
	}
	if err := c.SP(); err != nil {
		return a, err
	}
	if a.set = true; c.Peek() != '(' {
		if word, err := c.Atom(); err != nil || !strings.EqualFold(word, "STATUS") {
			return a, either(err, "Expected STATUS or events")
		}
		if a.status = true; c.EOL() {
			return a, badSyntax("Expected events")
		}
		if err := c.SP(); err != nil {
			return a, err
		}
	}
	return a, s.readEventGroups(c, &a)
}

func (s *session) readEventGroups(c *wire.Command, a *notifyArgs) error {
	names, selected := 0, 0
	for {
		g, err := s.readEventGroup(c)
		if err != nil {
			return err
		}
		if g.filter == filterSelected {
			selected++
			a.selected = g
		} else {
			a.groups = append(a.groups, g)
			a.all |= g.events
		}
		if selected > 1 {
			return badSyntax("Only one group can be about the selected mailbox") // RFC 5465 section 6.1
		}
		if names += 1 + len(g.names); names > maxNotifyNames {
			return &refusal{"NOTIFICATIONOVERFLOW", "Too many mailboxes"}
		}
		if c.EOL() {
			return c.End()
		}
		if err := c.SP(); err != nil {
			return err
		}
	}
}

func isFilterByte(b byte) bool { return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || b == '-' }

func (s *session) readEventGroup(c *wire.Command) (g eventGroup, err error) {
	if err := c.Expect('('); err != nil {
		return g, err
	}
	word := strings.ToUpper(c.While(isFilterByte))
	filter, ok := eventFilters[word]
	if !ok {
		return g, badSyntax("Unknown mailbox filter")
	}
	g.filter, g.delayed = filter, word == "SELECTED-DELAYED"
	if err := c.SP(); err != nil {
		return g, err
	}
	if filter == filterSubtree || filter == filterMailboxes {
		if g.names, err = s.readNames(c); err != nil {
			return g, err
		}
		if err := c.SP(); err != nil {
			return g, err
		}
	}
	if err := g.readEvents(c); err != nil {
		return g, err
	}
	return g, c.Expect(')')
}

// readNames reads the name of a mailbox or several in parentheses.
func (s *session) readNames(c *wire.Command) (names []string, err error) {
	many := c.Byte('(')
	for {
		name, err := c.Mailbox()
		if err != nil {
			return nil, err
		}
		names = append(names, s.foldInbox(name))
		if !many || c.Byte(')') {
			return names, nil
		}
		if len(names) > maxNotifyNames {
			return nil, &refusal{"NOTIFICATIONOVERFLOW", "Too many mailboxes"}
		}
		if err := c.SP(); err != nil {
			return nil, err
		}
	}
}

// readEvents reads NONE or events in parentheses. The examples of RFC 5465 have
// none around them: that is understood too.
func (g *eventGroup) readEvents(c *wire.Command) error {
	inside := c.Byte('(')
	var names []string
	for {
		name, err := c.Atom()
		if err != nil {
			return err
		}
		name = strings.ToUpper(name)
		if name == "NONE" && !inside && len(names) == 0 {
			return nil
		}
		names = append(names, name)
		more := c.Peek() == ' '
		if more {
			if err := c.SP(); err != nil {
				return err
			}
		}
		if more && name == "MESSAGENEW" && c.Peek() == '(' {
			if err := g.readAttributes(c); err != nil {
				return err
			}
			if more = c.Peek() == ' '; more {
				if err := c.SP(); err != nil {
					return err
				}
			}
		}
		if more {
			continue
		}
		if inside {
			if err := c.Expect(')'); err != nil {
				return err
			}
		}
		return g.take(names)
	}
}

// readAttributes reads what the client wants to know of new messages.
func (g *eventGroup) readAttributes(c *wire.Command) error {
	if g.filter != filterSelected {
		return badSyntax("Attributes are for the selected mailbox only")
	}
	a, err := readAttributes(c)
	g.attributes = &a
	return err
}

// readAttributes reads data items of FETCH in parentheses.
func readAttributes(c *wire.Command) (a fetchArgs, err error) {
	if err := c.Expect('('); err != nil {
		return a, err
	}
	for {
		if err := a.readItem(c, false); err != nil || c.Byte(')') {
			return a, err
		}
		if len(a.items) >= maxFetchItems {
			return a, badSyntax("Too many data items")
		}
		if err := c.SP(); err != nil {
			return a, err
		}
	}
}

// take makes events of their names (RFC 5465 section 5).
func (g *eventGroup) take(names []string) error {
	has := func(name string) bool { return slices.Contains(names, name) }
	for _, name := range names {
		switch name {
		case "MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE":
		case "MAILBOXNAME", "SUBSCRIPTIONCHANGE", "MAILBOXMETADATACHANGE", "SERVERMETADATACHANGE":
			if g.filter == filterSelected {
				return badSyntax("Not an event of messages") // RFC 5465 section 6.1
			}
		default:
			return &refusal{supportedEvents, "Event is not supported"}
		}
	}
	if has("MESSAGENEW") != has("MESSAGEEXPUNGE") || has("FLAGCHANGE") && !has("MESSAGENEW") {
		return badSyntax("MessageNew and MessageExpunge go together, and with FlagChange")
	}
	for name, event := range map[string]events{
		"MESSAGENEW": eventMessages, "FLAGCHANGE": eventFlags,
		"MAILBOXNAME": eventNames, "SUBSCRIPTIONCHANGE": eventSubscriptions,
		"MAILBOXMETADATACHANGE": eventMailboxNotes, "SERVERMETADATACHANGE": eventServerNotes,
	} {
		if has(name) {
			g.events |= event
		}
	}
	return nil
}

// covers reports whether a group is about a mailbox.
func (g *eventGroup) covers(name string, subscribed bool, separator byte) bool {
	switch g.filter {
	case filterPersonal:
		return true
	case filterSubscribed:
		return subscribed
	case filterMailboxes:
		return slices.Contains(g.names, name)
	case filterSubtree:
		return slices.ContainsFunc(g.names, func(top string) bool {
			rest, ok := strings.CutPrefix(name, top)
			return ok && (rest == "" || rest[0] == separator)
		})
	}
	return false
}
