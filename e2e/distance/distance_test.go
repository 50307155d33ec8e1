package distance

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestRun measures a little of what takes least, on real processes.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes: not with -short")
	}
	t.Cleanup(func() {
		if err := cluster.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	var out bytes.Buffer
	o := Defaults()
	o.Out, o.Parts = &out, []string{"lag", "throughput"}
	o.Delays = []time.Duration{5 * time.Millisecond}
	o.Rate, o.Pairs, o.LagTime = 50, 3, time.Second
	o.Conns, o.Ops, o.Rounds = 3, 20, 1
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := Run(ctx, o); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"Lag at 50", "Throughput", " 5ms "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
