package bench

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-pluto/pluto/bench/imapc"
)

// idHeader carries the identity of a message in a convergence run. Its name is in
// upper case because some servers answer so whatever the client wrote.
const idHeader = "X-LOAD-ID"

// viewItems are what a view wants to know of each message.
const viewItems = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (" + idHeader + ")])"

// view is what one session believes to be in its selected mailbox. It tells the
// ledger every message it sees and every breach of the protocol. Not for
// concurrent use.
type view struct {
	ledger *ledger
	conn   *imapc.Conn
	where  string // the side, for messages
	box    int
	name   string
	rows   []viewRow // by sequence number; UID 0 is not known yet
	gone   []viewRow // expunged since the last take
}

type viewRow struct {
	uid   uint32
	id    string
	flags string // sorted, without \Recent
}

func (v *view) close() {
	if v != nil && v.conn != nil {
		v.conn.Close()
	}
}

func (v *view) reset(box int, name string) {
	v.box, v.name, v.rows, v.gone = box, name, v.rows[:0], v.gone[:0]
}

func (v *view) violate(format string, args ...any) {
	v.ledger.violate("%s at %s: %s", v.name, v.where, fmt.Sprintf(format, args...))
}

// on sees every untagged response.
func (v *view) on(r *imapc.Response) {
	switch r.Name {
	case "EXISTS":
		v.exists(int(r.Num))
	case "EXPUNGE":
		v.expunge(int(r.Num))
	case "FETCH":
		v.fetched(int(r.Num), r.Rest)
	}
}

func (v *view) exists(n int) {
	if n < len(v.rows) {
		v.violate("EXISTS went from %d to %d", len(v.rows), n)
		v.rows = v.rows[:n]
		return
	}
	for len(v.rows) < n {
		v.rows = append(v.rows, viewRow{})
	}
}

func (v *view) expunge(seq int) {
	if seq < 1 || seq > len(v.rows) {
		v.violate("EXPUNGE of %d, there are %d", seq, len(v.rows))
		return
	}
	v.gone = append(v.gone, v.rows[seq-1])
	v.rows = append(v.rows[:seq-1], v.rows[seq:]...)
}

func (v *view) fetched(seq int, rest []byte) {
	if seq < 1 || seq > len(v.rows) {
		v.violate("FETCH of %d, there are %d", seq, len(v.rows))
		return
	}
	got, err := parseViewRow(rest)
	if err != nil {
		v.violate("FETCH %d: %v", seq, err)
		return
	}
	row := &v.rows[seq-1]
	if got.uid != 0 && row.uid != 0 && got.uid != row.uid {
		v.violate("sequence number %d changed from UID %d to %d", seq, row.uid, got.uid)
	}
	if got.uid != 0 && row.uid == 0 {
		v.learn(seq, got.uid)
	}
	if got.id != "" {
		row.id = got.id
		v.ledger.saw(v.box, v.conn.UIDValidity, row.uid, got.id, v.name+" at "+v.where)
	}
	if got.flags != noFlags {
		row.flags = got.flags
	}
}

// learn notes the UID of a sequence number; UIDs rise (RFC 3501 section 2.3.1.1).
func (v *view) learn(seq int, uid uint32) {
	if seq > 1 && v.rows[seq-2].uid >= uid {
		v.violate("UID %d at sequence number %d follows UID %d", uid, seq, v.rows[seq-2].uid)
	}
	if seq < len(v.rows) && v.rows[seq].uid != 0 && v.rows[seq].uid <= uid {
		v.violate("UID %d at sequence number %d precedes UID %d", uid, seq, v.rows[seq].uid)
	}
	v.rows[seq-1].uid = uid
}

// noFlags stands for flags that a response did not tell.
const noFlags = "?"

func parseViewRow(rest []byte) (viewRow, error) {
	row := viewRow{flags: noFlags}
	vs, err := imapc.Parse(rest)
	if err != nil {
		return row, err
	}
	if len(vs) != 1 || vs[0].Kind != imapc.List {
		return row, fmt.Errorf("not a list: %.60q", rest)
	}
	items := vs[0].List
	for i := 0; i+1 < len(items); i += 2 {
		switch name, value := items[i], items[i+1]; {
		case name.Is("UID"):
			n, _ := value.Uint()
			row.uid = uint32(n)
		case name.Is("FLAGS"):
			row.flags = flagsOf(value)
		case len(name.Str) > 11 && bytes.EqualFold(name.Str[:11], []byte("BODY[HEADER")):
			row.id = headerField(value.Str, idHeader)
		}
	}
	return row, nil
}

func flagsOf(v imapc.Value) string {
	var names []string
	for _, f := range v.List {
		if !f.Is(`\Recent`) { // belongs to the session (RFC 3501 section 2.3.2)
			names = append(names, string(f.Str))
		}
	}
	return flagSet(names)
}

func (v *view) do(cmd string) error {
	_, err := v.conn.Do(cmd, nil)
	return err
}

// sync learns what appeared.
func (v *view) sync() error {
	for i, r := range v.rows {
		if r.uid == 0 || r.id == "" {
			return v.do(fmt.Sprintf("FETCH %d:* %s", i+1, viewItems))
		}
	}
	return nil
}

func (v *view) fetchAll() error {
	if len(v.rows) == 0 {
		return nil
	}
	return v.do("FETCH 1:* " + viewItems)
}

// takeGone returns what was expunged since the last call.
func (v *view) takeGone() []viewRow {
	g := append([]viewRow(nil), v.gone...)
	v.gone = v.gone[:0]
	return g
}

// has tells whether a message is in the view.
func (v *view) has(id string) bool {
	for _, r := range v.rows {
		if r.id == id {
			return true
		}
	}
	return false
}

func hasFlag(flags, name string) bool {
	for f := range strings.SplitSeq(flags, " ") {
		if strings.EqualFold(f, name) {
			return true
		}
	}
	return false
}
