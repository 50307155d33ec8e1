package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// states is a set of the session states of RFC 3501 section 3 that can occur here.
type states uint8

const (
	authenticated states = 1 << iota // no mailbox is selected
	selectedState

	anyState = authenticated | selectedState
)

// syncMode says what may be announced at the end of a command.
type syncMode uint8

const (
	syncNone  syncMode = iota // nothing: no mailbox, or another one than before
	syncFlags                 // all but EXPUNGE (RFC 3501 section 7.4.1)
	syncAll
)

// command is a line of the command tables. run parses the arguments, does the
// work and appends untagged responses; the tagged one follows from its error.
// done is the text of the OK.
type command struct {
	states states
	sync   syncMode
	run    func(s *session, c *wire.Command) error
	done   string
}

// commands says which command is legal in which state and who handles it.
// Those that belong to the time before login are answered like unknown ones.
var commands map[string]*command

// uidCommands are the commands that follow UID (RFC 3501 section 6.4.8,
// RFC 4315, RFC 6851, RFC 8508). All of them may announce an EXPUNGE.
var uidCommands map[string]*command

func init() { // the tables refer to handlers that refer to the tables
	commands = map[string]*command{
		"CAPABILITY": {anyState, syncAll, (*session).capability, "CAPABILITY completed"},
		"NOOP":       {anyState, syncAll, (*session).noop, "NOOP completed"},
		"LOGOUT":     {anyState, syncNone, (*session).logout, "LOGOUT completed"},
		"ID":         {anyState, syncAll, (*session).id, "ID completed"},
		"ENABLE":     {anyState, syncAll, (*session).enable, "ENABLE completed"},
		"NAMESPACE":  {anyState, syncAll, (*session).namespace, "NAMESPACE completed"},

		"XLIST":          {anyState, syncAll, (*session).xlist, "XLIST completed"},
		"GETMETADATA":    {anyState, syncAll, (*session).getMetadata, "GETMETADATA completed"},
		"SETMETADATA":    {anyState, syncAll, (*session).setMetadata, "SETMETADATA completed"},
		"GETQUOTA":       {anyState, syncAll, (*session).getQuota, "GETQUOTA completed"},
		"GETQUOTAROOT":   {anyState, syncAll, (*session).getQuotaRoot, "GETQUOTAROOT completed"},
		"SETQUOTA":       {anyState, syncAll, (*session).setQuota, "SETQUOTA completed"},
		"COMPRESS":       {anyState, syncAll, (*session).compress, "DEFLATE active"},
		"UNAUTHENTICATE": {anyState, syncNone, (*session).unauthenticate, "UNAUTHENTICATE completed"},

		"SELECT":      {anyState, syncNone, (*session).selectMailbox, "SELECT completed"},
		"EXAMINE":     {anyState, syncNone, (*session).examine, "EXAMINE completed"},
		"CREATE":      {anyState, syncAll, (*session).create, "CREATE completed"},
		"DELETE":      {anyState, syncAll, (*session).delete, "DELETE completed"},
		"RENAME":      {anyState, syncAll, (*session).rename, "RENAME completed"},
		"SUBSCRIBE":   {anyState, syncAll, (*session).subscribe, "SUBSCRIBE completed"},
		"UNSUBSCRIBE": {anyState, syncAll, (*session).unsubscribe, "UNSUBSCRIBE completed"},
		"LIST":        {anyState, syncAll, (*session).list, "LIST completed"},
		"LSUB":        {anyState, syncAll, (*session).lsub, "LSUB completed"},
		"STATUS":      {anyState, syncAll, (*session).status, "STATUS completed"},
		"APPEND":      {anyState, syncAll, (*session).append, "APPEND completed"},
		lostCommand:   {anyState, syncAll, (*session).lost, "APPEND completed"},
		"IDLE":        {anyState, syncAll, (*session).idle, "IDLE completed"},

		"CHECK":    {selectedState, syncAll, (*session).noop, "CHECK completed"},
		"CLOSE":    {selectedState, syncNone, (*session).close, "CLOSE completed"},
		"UNSELECT": {selectedState, syncNone, (*session).unselect, "UNSELECT completed"},
		"EXPUNGE":  {selectedState, syncAll, (*session).expunge, "EXPUNGE completed"},
		"SEARCH":   {selectedState, syncFlags, (*session).search, "SEARCH completed"},
		"FETCH":    {selectedState, syncFlags, (*session).fetch, "FETCH completed"},
		"STORE":    {selectedState, syncFlags, (*session).store, "STORE completed"},
		"COPY":     {selectedState, syncAll, (*session).copy, "COPY completed"},
		"MOVE":     {selectedState, syncAll, (*session).move, "MOVE completed"},
		"SORT":     {selectedState, syncFlags, (*session).sort, "SORT completed"},
		"THREAD":   {selectedState, syncFlags, (*session).thread, "THREAD completed"},
		"REPLACE":  {selectedState, syncAll, (*session).replace, "REPLACE completed"},

		"NOTIFY":       {anyState, syncAll, (*session).startNotify, "NOTIFY completed"},
		"CANCELUPDATE": {selectedState, syncAll, (*session).cancelUpdate, "CANCELUPDATE completed"},
	}
	uidCommands = map[string]*command{
		"UID EXPUNGE": {selectedState, syncAll, (*session).uidExpunge, "UID EXPUNGE completed"},
		"UID SEARCH":  {selectedState, syncAll, (*session).uidSearch, "UID SEARCH completed"},
		"UID FETCH":   {selectedState, syncAll, (*session).uidFetch, "UID FETCH completed"},
		"UID STORE":   {selectedState, syncAll, (*session).uidStore, "UID STORE completed"},
		"UID COPY":    {selectedState, syncAll, (*session).uidCopy, "UID COPY completed"},
		"UID MOVE":    {selectedState, syncAll, (*session).uidMove, "UID MOVE completed"},
		"UID SORT":    {selectedState, syncAll, (*session).uidSort, "UID SORT completed"},
		"UID THREAD":  {selectedState, syncAll, (*session).uidThread, "UID THREAD completed"},
		"UID REPLACE": {selectedState, syncAll, (*session).uidReplace, "UID REPLACE completed"},
	}
}

// lookUp finds the command that a client has sent and the name under which it
// is counted. The command after UID is read here.
func (s *session) lookUp(c *wire.Command) (*command, string, error) {
	cmd, name := commands[c.Name], c.Name
	if c.Name == "UID" {
		if err := c.SP(); err != nil {
			return nil, otherCommand, err
		}
		sub, err := c.Atom()
		if err != nil {
			return nil, otherCommand, err
		}
		name = uidName(sub)
		cmd = uidCommands[name]
	}
	if cmd == nil {
		return nil, otherCommand, badSyntax("Unknown command")
	}
	if cmd.states&s.state() == 0 {
		return nil, name, badSyntax("No mailbox is selected")
	}
	return cmd, name, nil
}

// uidName returns the name in uidCommands, without allocating for those that exist.
func uidName(sub string) string {
	for _, name := range [...]string{
		"UID FETCH", "UID STORE", "UID SEARCH", "UID COPY", "UID MOVE", "UID EXPUNGE",
		"UID REPLACE", "UID SORT", "UID THREAD",
	} {
		if strings.EqualFold(sub, name[len("UID "):]) {
			return name
		}
	}
	return otherCommand
}

func isUID(name string) bool { return strings.HasPrefix(name, "UID ") }

func (s *session) state() states {
	if s.box != nil {
		return selectedState
	}
	return authenticated
}
