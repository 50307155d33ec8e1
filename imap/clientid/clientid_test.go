package clientid

import (
	"reflect"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap/wire"
)

func read(t *testing.T, args string) (ID, error) {
	t.Helper()
	cmd, err := wire.NewReader(strings.NewReader("a ID "+args+"\r\n"), wire.AfterLogin).Next()
	if err == nil {
		err = cmd.SP()
	}
	if err != nil {
		t.Fatal(err)
	}
	id, err := Read(cmd)
	if err == nil {
		err = cmd.End()
	}
	return id, err
}

func TestRead(t *testing.T) {
	for args, want := range map[string]ID{
		`NIL`:                         {},
		`()`:                          {List: `()`},
		`("name" NIL)`:                {List: `("name" NIL)`},
		`("vendor" "x" "NAME" "A b")`: {List: `("vendor" "x" "NAME" "A b")`, Name: "a b"},
		"(\"name\" {3}\r\nA\"b)":      {List: `("name" "A\"b")`, Name: `a"b`},
	} {
		if id, err := read(t, args); err != nil || id != want {
			t.Errorf("%s: %q, %v", args, id, err)
		} else if again := Parse(id.List); again != want {
			t.Errorf("%s: %q when it was passed on", args, again)
		}
	}
	for _, args := range []string{
		`"name"`, `x`, `("name")`, `("name" "x" )`, `("name" (x))`,
		`("` + strings.Repeat("x", maxField+1) + `" "x")`,
		`("x" "` + strings.Repeat("x", MaxValue+1) + `")`,
		`(` + strings.Repeat(`"x" "y" `, maxFields) + `"x" "y")`,
	} {
		if id, err := read(t, args); err == nil {
			t.Errorf("%s: taken as %q", args, id)
		}
	}
	for _, list := range []string{``, `NIL`, `("name" "old mail`, `("name")`, "\x00"} {
		if id := Parse(list); id != (ID{}) {
			t.Errorf("%q: %q", list, id)
		}
	}
}

// A name is bounded in lower case too, in which it may be longer.
func TestLongName(t *testing.T) {
	for _, name := range []string{strings.Repeat("\xff", MaxValue), strings.Repeat("İ", MaxValue/2)} {
		id, err := read(t, "(\"name\" {1024}\r\n"+name+")")
		if err != nil || len(id.Name) > MaxValue || id.Name == "" {
			t.Errorf("%d bytes, %v", len(id.Name), err)
		}
	}
}

func TestQuirks(t *testing.T) {
	quirks := Quirks{{"Old Mail", []string{"QUOTA", "compress=DEFLATE"}}, {"mail", []string{"METADATA"}}}
	for name, want := range map[string][]string{
		"":                 nil,
		"other":            nil,
		"my MAIL":          {"METADATA"},
		"the old mail 2.0": {"QUOTA", "compress=DEFLATE", "METADATA"},
	} {
		if got := quirks.Hidden(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q", name, got)
		}
		if got := quirks.Hides(name, "COMPRESS=deflate"); got != (len(want) == 3) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
