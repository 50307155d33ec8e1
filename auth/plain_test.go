package auth

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
)

func TestParsePlain(t *testing.T) {
	for _, test := range []struct {
		message         string
		login, password string
		err             error
	}{
		{"\x00tim\x00tanstaaftanstaaf", "tim", "tanstaaftanstaaf", nil}, // RFC 4616 section 4
		{"Ursel\x00Kurt\x00xipj3plmq", "", "", ErrAuthorization},        // same
		{"tim\x00tim\x00x", "tim", "x", nil},
		{"Tim\x00tim\x00x", "", "", ErrAuthorization},
		{"\x00jürgen\x00pä ss", "jürgen", "pä ss", nil},
		{"", "", "", ErrMalformed},
		{"\x00", "", "", ErrMalformed},
		{"\x00\x00", "", "", ErrMalformed},
		{"\x00tim\x00", "", "", ErrMalformed},
		{"\x00\x00x", "", "", ErrMalformed},
		{"tim\x00x", "", "", ErrMalformed},
		{"\x00tim\x00x\x00", "", "", ErrMalformed},
		{"\x00tim\x00" + strings.Repeat("x", 1<<16), "", "", ErrMalformed},
	} {
		login, password, err := ParsePlain([]byte(test.message))
		if login != test.login || password != test.password || !errors.Is(err, test.err) {
			t.Errorf("%q: %q, %q, %v", test.message, login, password, err)
		}
	}
}

// TestParsePlainClient reads what a client library sends.
func TestParsePlainClient(t *testing.T) {
	_, message, err := sasl.NewPlainClient("", "user1", "pass1").Start()
	if err != nil {
		t.Fatal(err)
	}
	if login, password, err := ParsePlain(message); login != "user1" || password != "pass1" || err != nil {
		t.Errorf("%q, %q, %v", login, password, err)
	}
}
