package auth

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// foreign are hashes of "geheim" made by Dovecot, OpenSSL and glibc.
var foreign = map[string]struct {
	format Format
	stored string
}{
	"argon2id":            {FormatArgon2id, "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$LR/TfVkafdMXvmLDKEYJBQ$o78PPuMcrhIvH7bH7Wry4BollXvTVO32O/M8LMq4gTo"},
	"bcrypt 2y":           {FormatBcrypt, "{BLF-CRYPT}$2y$04$xnsZ0q5jZ07UplG1p2GuM.UIabYrG1OJKdl7g1ONPhauwIPcfJ4Ey"},
	"bcrypt 2b":           {FormatBcrypt, "$2b$04$abcdefghijklmnopqrstuuPWRtT5yx7FBi4dcf6ROhboeNunUrLQ."},
	"sha512-crypt":        {FormatSHA512Crypt, "{SHA512-CRYPT}$6$ulsZmf0Xm6ik.aGx$PPa5QBAGeMIYy.QpPYwgABI932HKzoW2Wal26J1EmmoZBUSQ5s5z9sQ6kK8i4AHqbtXo/hzQyMT64wkgH9Ztl0"},
	"sha512-crypt rounds": {FormatSHA512Crypt, "$6$rounds=1000$saltsalt$vqVEzhF1x7x2p0VCWCzOM1GGIpJ62KqdREyqdHXfkzvqLwi.vIVwX0AcTW9cDubiR4wA.zOlJTle4lioqe99c1"},
	"sha512":              {FormatSHA512, "{SHA512}jYR+AdIrqpafcfo2K03iHJ4Tx4grzqE7pcaorg1x/IyXAMguAIemXIs3vSn1NnR/KMlnK+wcrndi0snza2AT8g=="},
	"small letters":       {FormatSHA512, "{sha512}jYR+AdIrqpafcfo2K03iHJ4Tx4grzqE7pcaorg1x/IyXAMguAIemXIs3vSn1NnR/KMlnK+wcrndi0snza2AT8g=="},
	"plain":               {FormatPlain, "geheim"},
	"plain named":         {FormatPlain, "{PLAIN}geheim"},
}

func TestForeignHashes(t *testing.T) {
	for name, test := range foreign {
		t.Run(name, func(t *testing.T) {
			h, err := ParseHash(test.stored)
			if err != nil {
				t.Fatal(err)
			}
			if h.Format() != test.format {
				t.Errorf("format %s, want %s", h.Format(), test.format)
			}
			passwords := map[string]bool{"geheim": true, "Geheim": false, "geheim ": false, "": false, "geheimgeheim": false}
			if test.format == FormatArgon2id { // made to be slow
				passwords = map[string]bool{"geheim": true, "Geheim": false}
			}
			for password, want := range passwords {
				if h.Verify(password) != want {
					t.Errorf("Verify(%q) = %v", password, !want)
				}
			}
		})
	}
}

// TestDecoys: a decoy is a hash that parses, costs the same, is worked through
// to the end, and fits no password.
func TestDecoys(t *testing.T) {
	for name, test := range foreign {
		t.Run(name, func(t *testing.T) {
			h, err := ParseHash(test.stored)
			if err != nil {
				t.Fatal(err)
			}
			d := h.decoy()
			if d.cost() != h.cost() {
				t.Errorf("cost %s, want %s", d.cost(), h.cost())
			}
			if d.format != FormatArgon2id && d.Verify("geheim") {
				t.Error("the password fits")
			}
			if d.format == FormatArgon2id && (bytes.Equal(d.sum, h.sum) || bytes.Equal(d.salt, h.salt)) {
				t.Error("the decoy is a user's hash")
			}
			switch d.format {
			case FormatBcrypt:
				if err := bcrypt.CompareHashAndPassword([]byte(d.text), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
					t.Errorf("not worked through: %v", err)
				}
			case FormatSHA512Crypt:
				if _, err := parseSHA512Crypt(d.text); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestBareHash: a hash of a known form needs no name in braces.
func TestBareHash(t *testing.T) {
	for name, test := range foreign {
		bare := test.stored[strings.Index(test.stored, "}")+1:]
		if !strings.HasPrefix(bare, "$") {
			continue
		}
		named, err1 := ParseHash(test.stored)
		h, err2 := ParseHash(bare)
		if err1 != nil || err2 != nil || h.format != named.format || h.text != named.text || !bytes.Equal(h.sum, named.sum) {
			t.Errorf("%s: %v, %v", name, err1, err2)
		}
	}
}

func TestParseHashErrors(t *testing.T) {
	argon := "$argon2id$v=19$m=65536,t=3,p=1$LR/TfVkafdMXvmLDKEYJBQ$o78PPuMcrhIvH7bH7Wry4BollXvTVO32O/M8LMq4gTo"
	for _, test := range []struct{ stored, want string }{
		{"", "the password is empty"},
		{"{PLAIN}", "the password is empty"},
		{"{geheim", "the } after the format's name is missing"},
		{"{MD5}x", `unknown format "MD5"; known are {ARGON2ID}`},
		{"$1$salt$hash", "a hash of unknown format"},
		{"{ARGON2ID}geheim", "not of the form $argon2id$"},
		{strings.Replace(argon, "v=19", "v=16", 1), "another version"},
		{strings.Replace(argon, "m=65536", "m=0", 1), "m= is not a number from 1 to 1048576"},
		{strings.Replace(argon, "m=65536", "m=4294967295", 1), "m= is not a number from 1 to 1048576"},
		{strings.Replace(argon, "t=3", "t=0", 1), "t= is not a number from 1 to 64"},
		{strings.Replace(argon, "p=1", "p=256", 1), "p= is not a number from 1 to 255"},
		{strings.Replace(argon, "p=1", "p=0", 1), "p= is not"},
		{strings.Replace(argon, ",p=1", "", 1), "the parameters are not of the form"},
		{strings.Replace(argon, "LR/TfVkafdMXvmLDKEYJBQ", "ab", 1), "the salt is not base64 of 8 to 64 bytes"},
		{argon[:len(argon)-40], "the hash is not base64 of 16 to 128 bytes"},
		{argon + "$x", "not of the form $argon2id$"},
		{"$2b$04$abc", "not a bcrypt hash"},
		{"$2b$31$abcdefghijklmnopqrstuuPWRtT5yx7FBi4dcf6ROhboeNunUrLQ.", "a cost that is not a number from 4 to 18"},
		{"{BLF-CRYPT}$6$x", "not a bcrypt hash"},
		{"$6$rounds=1000$" + strings.Repeat("a", 86), "not of the form $6$salt$hash"},
		{"$6$salt$short", "not of the form $6$salt$hash"},
		{"$6$rounds=999999999$saltsalt$" + strings.Repeat("a", 86), "rounds= is not a number from 1 to 5000000"},
		{"{SHA512}Z2VoZWlt", "not the base64 of a SHA-512 sum"},
		{"{SHA512}geheim!", "not the base64 of a SHA-512 sum"},
	} {
		_, err := ParseHash(test.stored)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.stored, err, test.want)
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error shows the password", test.stored)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	for _, test := range foreign {
		f.Add(test.stored)
	}
	f.Add("$2b$04$\x00\x00")
	f.Add("{$6$rounds=1$$")
	f.Fuzz(func(t *testing.T, stored string) {
		h, err := ParseHash(stored)
		if err != nil {
			return
		}
		// What is cheap enough is also verified: nothing that parses panics.
		if h.format == FormatArgon2id && (h.params.memory > 256 || h.params.time > 2) || h.format == FormatBcrypt && h.text[4:6] != "04" ||
			h.format == FormatSHA512Crypt && strings.HasPrefix(h.text, "$6$rounds=") && !strings.HasPrefix(h.text, "$6$rounds=1$") {
			return
		}
		h.Verify("x")
		h.decoy().Verify("x")
	})
}
