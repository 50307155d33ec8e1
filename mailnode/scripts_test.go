package mailnode

import (
	"cmp"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/mailstore"
)

// scriptWorld is a world in which session 1 of a script is at one replica and all
// others are at the other. UIDs that clients name are those of the script: the n-th
// message that came into a mailbox has UID n there.
type scriptWorld struct {
	*world
	opts     imap.Options
	quota    mailstore.Amount
	issued   map[string][]uint32 // UIDs, in the order in which they came
	selected map[string]string   // mailboxes, by session
	learned  map[string]string   // what identities and MODSEQs of the script are here, by keyOf
}

func newScriptWorld(t *testing.T, name string) *scriptWorld {
	mail, opts := imaptest.Prepare(name)
	return &scriptWorld{
		world: newWorldAt(t, 1, imaptest.Now.UnixMilli(), opts.Separator), opts: opts,
		quota:  mailstore.Amount{Storage: mail.Limits.Storage.Limit, Messages: mail.Limits.Messages.Limit},
		issued: make(map[string][]uint32), selected: make(map[string]string),
		learned: make(map[string]string),
	}
}

// exchange gives each replica what the other has done.
func (w *scriptWorld) exchange() {
	for quiet := 0; quiet < 2; quiet++ {
		for w.pull(w.nodes[0], w.nodes[1]) || w.pull(w.nodes[1], w.nodes[0]) {
			quiet = 0
		}
		w.wait(0)
	}
	w.look()
}

// dialScript opens a session that begins with the answer to a login.
func (w *scriptWorld) dialScript(session string) net.Conn {
	node := 1
	if session == "" || session == "1" {
		node = 0
	}
	client, conn := net.Pipe()
	id := imap.SessionID{byte(len(w.selected)), 1}
	copy(id[2:], session)
	a, err := openAccount(w.t.Context(), w.nodes[node], 7, "user7", id)
	if err != nil {
		w.fail("open: %v", err)
	}
	a.SetQuota(w.quota)
	opts := w.opts
	opts.Tag = "login"
	w.ended.Go(func() {
		defer a.Close()
		defer conn.Close()
		imap.Serve(w.t.Context(), imaptest.NewConn(conn), a, opts) // its end is the client's
	})
	return client
}

var (
	selecting  = regexp.MustCompile(`(?i)^\S+ (?:SELECT|EXAMINE) "?([^" (]+)`)
	resync     = regexp.MustCompile(`(?i)\(QRESYNC \(\d+`)
	uidCommand = regexp.MustCompile(`(?i)^(\S+ UID (?:FETCH|STORE|COPY|MOVE|EXPUNGE|REPLACE) )([0-9:,*]+)(.*)$`)
	uidURL     = regexp.MustCompile(`(?i)(?:/(\w+)(;UIDVALIDITY=\d+)?)?(/?;UID=)(\d+)`)
	uidKey     = regexp.MustCompile(`(?i)(\bUID )([0-9][0-9:,*]*)`)
)

// translate puts the UIDs that messages have here in the place of those of the script.
func (w *scriptWorld) translate(session, text string) string {
	if m := selecting.FindStringSubmatch(text); m != nil {
		w.selected[session] = folded(m[1])
	}
	text = w.translateLearned(session, text)
	text = resync.ReplaceAllStringFunc(text, func(m string) string {
		return "(QRESYNC (" + w.validity(w.selected[session], m[len("(QRESYNC ("):])
	})
	text = uidURL.ReplaceAllStringFunc(text, func(m string) string {
		part := uidURL.FindStringSubmatch(m)
		box := cmp.Or(folded(part[1]), w.selected[session])
		if part[2] != "" {
			part[2] = ";UIDVALIDITY=" + w.validity(box, part[2][len(";UIDVALIDITY="):])
		}
		if part[1] != "" {
			part[1] = "/" + part[1]
		}
		return part[1] + part[2] + part[3] + w.uids(box, part[4])
	})
	box := cmp.Or(w.selected[session], "INBOX")
	if m := uidCommand.FindStringSubmatch(text); m != nil {
		return m[1] + w.uids(box, m[2]) + m[3]
	}
	return uidKey.ReplaceAllStringFunc(text, func(m string) string { return m[:4] + w.uids(box, m[4:]) })
}

// told is what clients are told and name again, of the same kind if they have the same
// first letter.
var (
	told  = regexp.MustCompile(`\b(MODSEQ|HIGHESTMODSEQ|EMAILID|THREADID|MAILBOXID) \(?([\w-]+)`)
	named = regexp.MustCompile(`(?i)\b((?:UN)?CHANGEDSINCE |MODSEQ (?:"\S+" \w+ )?|QRESYNC \(\d+ |EMAILID |THREADID |MAILBOXID )([\w-]+)`)
)

// learn takes note of what the identities and MODSEQs that the script tells a session
// are here.
func (w *scriptWorld) learn(session, want, got string) {
	theirs, ours := told.FindAllStringSubmatch(want, -1), told.FindAllStringSubmatch(got, -1)
	if len(theirs) != len(ours) {
		return
	}
	for i := range theirs {
		w.learned[w.keyOf(session, theirs[i][1], theirs[i][2])] = ours[i][2]
	}
}

// keyOf is where a value is kept: identities are those of all, a MODSEQ that of a session.
func (w *scriptWorld) keyOf(session, kind, value string) string {
	if !strings.HasSuffix(strings.ToUpper(kind), "ID") {
		return session + " " + value
	}
	return value
}

// translateLearned puts what the session was told in the place of what the script names.
func (w *scriptWorld) translateLearned(session, text string) string {
	return named.ReplaceAllStringFunc(text, func(m string) string {
		part := named.FindStringSubmatch(m)
		if ours := w.learned[w.keyOf(session, strings.TrimSpace(part[1]), part[2])]; ours != "" {
			return part[1] + ours
		}
		return m
	})
}

// folded is a mailbox name in the case in which it is known.
func folded(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

// validity translates a UIDVALIDITY, if it is the one that the script's store gave the
// mailbox.
func (w *scriptWorld) validity(box, named string) string {
	if given := map[string]string{"INBOX": "1001", "Drafts": "1002"}; given[box] != named {
		return named
	}
	a, err := openAccount(w.t.Context(), w.nodes[0], 7, "user7", imap.SessionID{0xfe})
	if err != nil {
		w.fail("open: %v", err)
	}
	defer a.Close()
	st, err := a.Status(w.t.Context(), box)
	if err != nil {
		w.fail("status: %v", err)
	}
	return strconv.FormatUint(uint64(st.UIDValidity), 10)
}

// uids translates a set.
func (w *scriptWorld) uids(box, set string) string {
	return regexp.MustCompile(`\d+`).ReplaceAllStringFunc(set, func(digits string) string {
		n, _ := strconv.Atoi(digits)
		if issued := w.issued[box]; n >= 1 && n <= len(issued) {
			return strconv.FormatUint(uint64(issued[n-1]), 10)
		}
		return "4000000000"
	})
}

// look takes note of the messages that have come into mailboxes.
func (w *scriptWorld) look() {
	a, err := openAccount(w.t.Context(), w.nodes[0], 7, "user7", imap.SessionID{0xff})
	if err != nil {
		w.fail("open: %v", err)
	}
	defer a.Close()
	boxes, err := a.Mailboxes(w.t.Context())
	if err != nil {
		w.fail("mailboxes: %v", err)
	}
	for _, box := range boxes {
		m, err := a.Select(w.t.Context(), box.Name, true)
		if err != nil {
			continue // it does not exist
		}
		v := m.View()
		for i := range v.Len() {
			if uid := uint32(v.UIDAt(i)); !slices.Contains(w.issued[box.Name], uid) {
				w.issued[box.Name] = append(w.issued[box.Name], uid)
			}
		}
		m.Close()
	}
}

// masked is what replicas answer differently: identities, MODSEQs, UIDs.
var masked = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ|MODSEQ) (\d+|<any>)`), "$1 #"},
	{regexp.MustCompile(`\bMODSEQ \(\d+\)`), "MODSEQ #"},
	{regexp.MustCompile(`\b(UID|RECENT) \d+`), "$1 #"},
	{regexp.MustCompile(`\b(APPENDUID|COPYUID)( [\d:,]+)+`), "$1 #"},
	{regexp.MustCompile(`;(UIDVALIDITY|UID)=\d+`), ";$1=#"},
	{regexp.MustCompile(`\b(MAILBOXID|EMAILID|THREADID) \([^)]*\)`), "$1 #"},
	{regexp.MustCompile(`^(\* VANISHED (?:\(EARLIER\) )?).*`), "${1}#"},
	{regexp.MustCompile(`\\Recent `), ""},
	{regexp.MustCompile(` ?\\Recent\)`), ")"},
	// The store in memory remembers keywords that no message has any more.
	{regexp.MustCompile(`^\* (FLAGS \(|OK \[PERMANENTFLAGS ).*`), ""},
	{regexp.MustCompile(`^\* (\d+|<any>) RECENT$`), ""}, // what is \Recent is each replica's (RFC 3501 section 2.3.2)
}

var numberOf = regexp.MustCompile(`\d+(:\d+)?(,\d+(:\d+)?)*`)

func mask(line string, uid bool) string {
	for _, m := range masked {
		line = m.re.ReplaceAllString(line, m.with)
	}
	for _, response := range []string{"* SEARCH", "* SORT", "* THREAD"} {
		if uid && strings.HasPrefix(line, response) {
			return numberOf.ReplaceAllString(line, "#")
		}
	}
	if strings.HasPrefix(line, "* ESEARCH") && (uid || strings.Contains(line, " UID #") || strings.Contains(line, ") UID")) {
		return "* ESEARCH"
	}
	return line
}

// TestScriptsOnTwoReplicas runs the engine's session scripts on the real store, with
// all sessions but the first at another replica, which has what the first one's has
// whenever anybody says or expects something.
func TestScriptsOnTwoReplicas(t *testing.T) {
	const folder = "../imap/testdata"
	for _, name := range imaptest.Scripts(t, folder) {
		t.Run(name, func(t *testing.T) {
			if why := notOnTwo[name]; why != "" {
				t.Skip(why)
			}
			w := newScriptWorld(t, name)
			mode := imaptest.Mode{Name: "replicas", Sync: w.exchange, Translate: w.translate, Mask: mask, Learn: w.learn}
			imaptest.Run(t, imaptest.Script(folder, name), mode, func(t *testing.T, session string) net.Conn { return w.dialScript(session) })
		})
	}
}

// notOnTwo says why a script is for one store in memory only.
var notOnTwo = map[string]string{
	"condstore":     "its clients name MODSEQs that nobody was told: see TestQResyncClientsRoam",
	"qresync":       "its clients name MODSEQs that nobody was told: see TestQResyncClientsRoam",
	"fault":         "the store in memory makes the faults",
	"metadatalimit": "the store in memory has other limits",
	"specialuse":    "the store in memory refuses a second mailbox for a special use",
}
