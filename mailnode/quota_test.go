package mailnode

import (
	"errors"
	"testing"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/tunnel"
	"github.com/go-pluto/pluto/mailstore"
)

// What the directory says of a user counts, 0 too; otherwise what holds for all.
func TestQuotaOf(t *testing.T) {
	number := func(n uint64) *uint64 { return &n }
	s := &service{quota: mailstore.Amount{Storage: 100, Messages: 7}}
	for _, test := range []struct {
		open *tunnel.Open
		want mailstore.Amount
	}{
		{&tunnel.Open{}, s.quota},
		{&tunnel.Open{QuotaStorage: number(5)}, mailstore.Amount{Storage: 5, Messages: 7}},
		{&tunnel.Open{QuotaMessages: number(0)}, mailstore.Amount{Storage: 100}},
	} {
		if got := s.quotaOf(test.open); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.open, got, test.want)
		}
	}
}

func TestQuotaThroughTheAdapter(t *testing.T) {
	a := openTestAccount(t)
	a.SetQuota(mailstore.Amount{Storage: 3, Messages: 2})
	q, err := a.Quota(t.Context())
	if want := (imap.Quota{Storage: imap.Resource{Limit: 3}, Messages: imap.Resource{Limit: 2}}); err != nil || q != want {
		t.Errorf("%+v, %v", q, err)
	}
	s, err := a.Stage(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("abcd")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(t.Context(), "INBOX", []imap.NewMessage{{Staging: s}}); !errors.Is(err, imap.ErrOverQuota) {
		t.Errorf("beyond the limit: %v", err)
	}
}
