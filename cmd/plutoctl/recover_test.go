package main

import (
	"bytes"
	"testing"

	"github.com/go-pluto/pluto/admin"
)

// TestRecovered: what was done for each user, what was not, and the sum.
func TestRecovered(t *testing.T) {
	gone := &admin.Member{Name: "eu-worker-1", Slot: 1, Origin: 0xab}
	var out bytes.Buffer
	var sum recovered
	for _, r := range []*admin.RecoverReport{
		{}, {User: 7, Added: 2, Bytes: 100, Flags: 1}, {User: 8, Added: 1, Elsewhere: 1, Problems: []string{"its content is lost"}}, {Done: true, Contents: 3},
	} {
		r.Subnet, r.Evicted = "subnet-1", gone
		sum.print(&out, r, false)
	}
	sum.print(&out, &admin.RecoverReport{Subnet: "subnet-1", Done: true}, true)
	const want = `subnet-1: data of eu-worker-1 (slot 1, incarnation 00000000000000ab), which was evicted
user 7: 2 messages added, 1 flags changed, 100 bytes that nobody else has
user 8: 1 messages added, 1 messages that the others have already
user 8: PROBLEM: its content is lost
subnet-1: recovered: 3 messages added, 1 flags changed, 100 bytes that nobody else has, 3 contents that were missing, 1 messages that the others have already, of 2 users
subnet-1: to be recovered: 3 messages added, 1 flags changed, 100 bytes that nobody else has, 1 messages that the others have already, of 2 users
`
	if out.String() != want || sum.problems != 1 {
		t.Errorf("%d problems\n%s\nwant\n%s", sum.problems, &out, want)
	}
}
