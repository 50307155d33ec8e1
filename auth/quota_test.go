package auth

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-kit/log"

	"github.com/go-pluto/pluto/internal/pgtest"
)

func TestFileQuota(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	const users = "a;x\nb;x;7\nc;x;;10GiB\nd;x;9;512KiB/1000\ne;x;;/5\nf;x;;0/0\ng;x;17;\n"
	if err := os.WriteFile(path, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path, ';', log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	for login, want := range map[string]struct {
		id    uint32
		quota Quota
	}{
		"a": {1, saysNothing}, "b": {7, saysNothing}, "c": {3, Quota{10 << 30, NoQuota}}, "d": {9, Quota{512 << 10, 1000}},
		"e": {5, Quota{NoQuota, 5}}, "f": {6, Quota{0, 0}}, "g": {17, saysNothing},
	} {
		id, _, err := f.Authenticate(t.Context(), login, "x")
		if err != nil {
			t.Fatal(err)
		}
		if q, err := QuotaOf(t.Context(), Measured(f, NewMetrics(nil)), login); err != nil || q != want.quota || id != want.id {
			t.Errorf("%s: %d, %+v, %v", login, id, q, err)
		}
	}
	for _, bad := range []string{"x", "10GB", "-1", "1/x", "1/-1", "9999999999TiB", "1 GiB", "GiB"} {
		if _, err := parseUsers("a;x;;"+bad+"\n", ';'); err == nil || !strings.Contains(err.Error(), `line 1: quota of "a": write a size`) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The columns may be there or not.
func TestPostgresQuota(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	p := connect(t, server, nil)
	server.Exec(table + `INSERT INTO users (id, username, password) VALUES (1, 'user1', 'x'), (2, 'user2', 'x'), (3, 'user3', 'x'), (4, 'user4', 'x');`)
	if q, err := p.Quota(t.Context(), "user1"); err != nil || q != saysNothing {
		t.Errorf("without columns: %+v, %v", q, err)
	}
	server.Exec(`ALTER TABLE users ADD COLUMN quota_storage bigint;
UPDATE users SET quota_storage = 5000000000 WHERE id = 2;
UPDATE users SET quota_storage = 0 WHERE id = 3;
UPDATE users SET quota_storage = -7 WHERE id = 4;`)
	for login, want := range map[string]Quota{
		"user1": saysNothing, "user2": {5000000000, NoQuota}, "user3": {0, NoQuota}, "nobody": saysNothing,
	} {
		if q, err := p.Quota(t.Context(), login); err != nil || q != want {
			t.Errorf("%s: %+v, %v", login, q, err)
		}
	}
	if _, err := p.Quota(t.Context(), "user4"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a negative quota: %v", err)
	}
	server.Exec(`ALTER TABLE users ADD COLUMN quota_messages integer; UPDATE users SET quota_messages = 12 WHERE id = 2;`)
	if q, err := p.Quota(t.Context(), "user2"); err != nil || q != (Quota{5000000000, 12}) {
		t.Errorf("with both columns: %+v, %v", q, err)
	}
	if id, _, err := p.Authenticate(t.Context(), "user2", "x"); err != nil || id != 2 {
		t.Errorf("login: %d, %v", id, err)
	}
}
