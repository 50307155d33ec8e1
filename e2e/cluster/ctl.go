package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Ctl runs plutoctl with a region's file and returns what it printed on standard
// output and error.
func (c *Cluster) Ctl(ctx context.Context, r *Region, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.binaries.Ctl, append([]string{"-config", r.Config}, args...)...)
	cmd.Dir = c.Dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("plutoctl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
