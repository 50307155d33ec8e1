package comm

import (
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// TestAnnouncer: an account is told once, again after a while as long as it is in
// use, and never too many at once.
func TestAnnouncer(t *testing.T) {
	var a announcer
	now := time.Unix(1_800_000_000, 0)
	var many []crdt.AccountID
	for i := range maxAnnounced + 10 {
		many = append(many, crdt.AccountID(i+1))
	}
	for _, c := range []struct {
		after time.Duration
		used  []crdt.AccountID
		want  int
	}{
		{0, many[:2], 2},
		{time.Second, many[:3], 1},
		{time.Second, many[:3], 0},
		{announceEvery, many[:3], 3},
		{time.Second, nil, 0},
		{time.Second, many, maxAnnounced},
		{time.Second, many, 10},
		{time.Second, many, 0},
	} {
		now = now.Add(c.after)
		if got := a.tell(c.used, now); len(got) != c.want {
			t.Errorf("%d in use: %d are told, want %d", len(c.used), len(got), c.want)
		}
	}
	var e elsewhere
	e.heard([]uint32{1, 2}, now)
	e.heard([]uint32{2}, now.Add(usedFor))
	if len(e.at) != 1 {
		t.Errorf("%d accounts are remembered", len(e.at))
	}
}
