package imap

import (
	"reflect"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap/clientid"
)

// A client is known by the name that it gives, before login or after it, and is not
// told of what it stumbles over; a quirk costs nobody else anything.
func TestQuirks(t *testing.T) {
	quirks := clientid.Quirks{{Client: "Old Mail", Hide: []string{"QUOTA", "COMPRESS=DEFLATE"}}, {Client: "mail", Hide: []string{"METADATA"}}}
	for said, hidden := range map[string][]string{
		``:                                 nil,
		`NIL`:                              nil,
		`("vendor" "Old Mail")`:            nil,
		`("name" NIL)`:                     nil,
		`("version" "1" "NAME" "My MAIL")`: {"METADATA"},
		`("name" "The old mail 2.0")`:      {"QUOTA", "COMPRESS=DEFLATE", "METADATA"},
		`("name" "old mail`:                nil, // cannot be read
	} {
		s := &session{opts: Options{Quirks: quirks, Client: said}}
		s.meet()
		if got := s.shown().Hide; !reflect.DeepEqual(got, hidden) {
			t.Errorf("%s: %q", said, got)
		}
	}
	s := &session{opts: Options{Quirks: quirks, Hide: make([]string, 1, 10)}, client: "mail"}
	s.shown()
	s.client = "old mail"
	if o := s.shown(); len(o.Hide) != 4 || strings.Join(s.opts.Hide[:2:2], "") != "" {
		t.Errorf("%q", o.Hide)
	}
}

// What a session knows of its connection goes with it to another replica.
func TestConnectionState(t *testing.T) {
	for _, from := range []*session{{}, {client: "mail"}, {compressed: true}, {compressed: true, client: strings.Repeat("x", clientid.MaxValue)}} {
		var w stateWriter
		from.saveConnection(&w)
		to := &session{turner: turnerOnly{}}
		if len(w.buf) > 0 {
			d := stateReader{data: w.buf}
			if err := to.loadConnection(&d); err != nil || d.end() != nil {
				t.Fatal(err)
			}
		}
		if to.client != from.client || to.compressed != from.compressed {
			t.Errorf("%+v", to)
		}
	}
	for _, data := range []string{"\x01\x00", "\x02\x00", "\x00\x05abc", ""} {
		d := stateReader{data: []byte(data)}
		if err := (&session{}).loadConnection(&d); err == nil && d.end() == nil {
			t.Errorf("%q was taken", data)
		}
	}
}

type turnerOnly struct{}

func (turnerOnly) Compress(Checkpoint) error       { return nil }
func (turnerOnly) Unauthenticate(Checkpoint) error { return nil }
