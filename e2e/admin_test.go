package e2e

import (
	"strings"
	"testing"
)

// TestStatusByPlutoctl has plutoctl ask all nodes of a region, as an operator does.
func TestStatusByPlutoctl(t *testing.T) {
	c := sharedCluster(t)
	ctx := timeout(t, readyTime)
	var out string
	until(t, ctx, "all nodes connected", func() (bool, error) {
		var err error
		out, err = c.Ctl(ctx, c.EU, "status")
		return err == nil && strings.Count(out, "  connected") == 4, err
	})
	for _, want := range []string{"eu-distributor  ready", "eu-worker-1: worker, ", "storage: storage, ", "users 1-20, slot 1", "us-worker-1  connected"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
