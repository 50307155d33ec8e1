package auth

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// expect authenticates and compares.
func expect(t *testing.T, a Authenticator, login, password string, wantID uint32, wantErr error) {
	t.Helper()
	id, name, err := a.Authenticate(t.Context(), login, password)
	if !errors.Is(err, wantErr) || id != wantID || err == nil && name != login || err != nil && name != "" {
		t.Errorf("%s with %q: ID %d, login %q, %v; want ID %d, %v", login, password, id, name, err, wantID, wantErr)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.txt")
	write(t, path, "\ufeffuser1;pass1\r\n"+
		"# a comment; with separator\n"+
		"\n"+
		"user4;"+foreign["sha512-crypt rounds"].stored+"\n"+
		"user5;pass5;1000\n"+
		"jürgen@example.org;pä$$ wörd\n"+
		"user7;"+foreign["bcrypt 2b"].stored+"; 70\n"+
		"user8;"+foreign["sha512"].stored) // no newline at the end
	var logged bytes.Buffer
	f, err := OpenFile(path, ';', log.NewLogfmtLogger(&logged))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		login, password string
		id              uint32
		err             error
	}{
		{"user1", "pass1", 1, nil},
		{"user1", "pass2", 0, ErrCredentials},
		{"USER1", "pass1", 0, ErrCredentials},
		{"user1 ", "pass1", 0, ErrCredentials},
		{"user4", "geheim", 4, nil},
		{"user4", "geheim2", 0, ErrCredentials},
		{"user5", "pass5", 1000, nil},
		{"jürgen@example.org", "pä$$ wörd", 6, nil},
		{"user7", "geheim", 70, nil},
		{"user8", "geheim", 8, nil},
		{"# a comment", " with separator", 0, ErrCredentials},
		{"", "", 0, ErrCredentials},
		{"", "pass1", 0, ErrCredentials},
		{"user1", "", 0, ErrCredentials},
		{"nobody", "pass1", 0, ErrCredentials},
		{"user1'-- x", "pass1", 0, ErrCredentials},
		{"user1\x00", "pass1", 0, ErrCredentials},
		{"\xff\xfe", "pass1", 0, ErrCredentials},
		{strings.Repeat("a", 1<<20), "pass1", 0, ErrCredentials},
		{"user1", strings.Repeat("a", 1<<20), 0, ErrCredentials},
	} {
		expect(t, f, test.login, test.password, test.id, test.err)
	}
	for _, want := range []string{"unsalted {SHA512}", "passwords in plain are for development only"} {
		if strings.Count(logged.String(), want) != 1 {
			t.Errorf("%q is not logged once:\n%s", want, logged.String())
		}
	}
	for _, secret := range []string{"pass1", "geheim", "saltsalt", "jYR+"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the log has %q in it", secret)
		}
	}
}

func TestFileErrors(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"no separator", "a;x\nuser2\n", "line 2: 1 fields; write login;password"},
		{"too many", "user1;pa;ss;wo;rd\n", "line 1: 5 fields"},
		{"third field", "user1;pa;ss\n", `line 1: the third field of "user1" is not a user ID from 1 to 4294967295`},
		{"ID 0", "user1;pass;0\n", "is not a user ID"},
		{"large ID", "user1;pass;4294967296\n", "is not a user ID"},
		{"no login", ";pass\n", "line 1: the login is not 1 to 255 characters"},
		{"login with space", " user1;pass\n", "the login is not"},
		{"login not UTF-8", "us\xffer;pass\n", "the login is not"},
		{"login with NUL", "us\x00er;pass\n", "the login is not"},
		{"empty password", "a;x\nuser2;\n", `line 2: password of "user2": the password is empty`},
		{"bad hash", "user1;{MD4}xyz\n", `line 1: password of "user1": unknown format "MD4"`},
		{"same login", "user1;x\n\nuser1;y\n", `line 3: login "user1" is in line 1 too`},
		{"same ID", "user1;x;3\n\nuser3;y\n", "line 3: user ID 3 is that of line 1 too"},
		{"same ID, both given", "user1;x;9\nuser2;y;9\n", "line 2: user ID 9 is that of line 1 too"},
		{"many", strings.Repeat("x\n", 1000), "more lines were not looked at"},
	} {
		path := filepath.Join(t.TempDir(), "users.txt")
		write(t, path, test.content)
		_, err := OpenFile(path, ';', log.NewNopLogger())
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		} else if strings.Contains(err.Error(), "ss;") || strings.Contains(err.Error(), "xyz") {
			t.Errorf("%s: the error shows a password: %v", test.name, err)
		}
	}
	_, err := OpenFile(filepath.Join(t.TempDir(), "none"), ';', log.NewNopLogger())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.txt")
	write(t, path, "user1;pass1\n")
	var logged bytes.Buffer
	f, err := OpenFile(path, ';', log.NewLogfmtLogger(&logged))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, f, "user1", "pass1", 1, nil)

	write(t, path, "user1;pass9\nuser2;pass2\n")
	expect(t, f, "user1", "pass1", 0, ErrCredentials)
	expect(t, f, "user1", "pass9", 1, nil)
	expect(t, f, "user2", "pass2", 2, nil)

	logged.Reset()
	write(t, path, "user1;pass1\nuser2\n")
	expect(t, f, "user1", "pass9", 1, nil)
	expect(t, f, "user2", "pass2", 2, nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect(t, f, "user2", "pass2", 2, nil)
	expect(t, f, "user2", "pass2", 2, nil)
	for _, want := range []string{"line 2: 1 fields", "no such file"} {
		if n := strings.Count(logged.String(), want); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", want, n, logged.String())
		}
	}

	write(t, path, "#user1;pass1\nuser2;pass2\n")
	expect(t, f, "user1", "pass1", 0, ErrCredentials)
	expect(t, f, "user2", "pass2", 2, nil)
}

// TestFileConcurrent is for the race detector: users come and go while others
// log in.
func TestFileConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.txt")
	write(t, path, "user1;pass1\n")
	f, err := OpenFile(path, ';', log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				if _, _, err := f.Authenticate(t.Context(), "user1", "pass1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := filepath.Join(filepath.Dir(path), "next")
	for i := range 50 {
		write(t, next, "user1;pass1\nuser2;"+strings.Repeat("x", i+1)+"\n")
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	expect(t, f, "user2", strings.Repeat("x", 50), 2, nil)
}

// TestBusy: when all processors verify passwords, others wait as long as their
// context lets them and are then told that it is not their fault.
func TestBusy(t *testing.T) {
	v := newVerifier()
	for range cap(v.slots) {
		v.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.verify(ctx, nil, "x"); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestImitation: the decoy has the format of the hashes that are in use.
func TestImitation(t *testing.T) {
	v := newVerifier()
	for _, test := range foreign {
		h, err := ParseHash(test.stored)
		if err != nil {
			t.Fatal(err)
		}
		if h.format == FormatArgon2id {
			continue // made to be slow; newVerifier's own is one
		}
		if err := v.verify(t.Context(), &h, "geheim"); err != nil {
			t.Fatal(err)
		}
		if got := v.decoy.Load().cost(); got != h.cost() {
			t.Errorf("decoy costs %s, want %s", got, h.cost())
		}
		if err := v.verify(t.Context(), nil, "geheim"); !errors.Is(err, ErrCredentials) {
			t.Errorf("nobody logged in: %v", err)
		}
	}
}

type fixed struct{ err error }

func (f fixed) Authenticate(context.Context, string, string) (uint32, string, error) {
	return 1, "user1", f.err
}

func TestMeasured(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	for _, err := range []error{nil, nil, ErrCredentials, unavailable("x", errors.New("y"))} {
		if _, _, got := Measured(fixed{err}, m).Authenticate(t.Context(), "", ""); got != err {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	for result, want := range map[string]float64{"ok": 2, "failed": 1, "unavailable": 1} {
		var got dto.Metric
		if err := m.results.WithLabelValues(result).Write(&got); err != nil || got.Counter.GetValue() != want {
			t.Errorf("%s: %v, %v, want %v", result, got.Counter, err, want)
		}
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add("user1;pass1\n\n# x\nuser4;{SHA512}x\nuser5;p;7")
	f.Add(";;;\n\ufeff")
	f.Fuzz(func(t *testing.T, content string) {
		table, err := parseUsers(content, ';')
		if err != nil {
			return
		}
		ids := map[uint32]bool{}
		for login, u := range table.byLogin {
			if !validLogin(login) || u.id == 0 || ids[u.id] {
				t.Errorf("user %q with ID %d", login, u.id)
			}
			ids[u.id] = true
			if _, err := ParseHash(u.stored); err != nil {
				t.Error(err)
			}
		}
	})
}
