package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Binaries are the programs that a cluster runs.
type Binaries struct{ Pluto, PKI, Ctl string }

// Environment variables that say which programs to run.
const (
	// EnvBin names a folder with pluto, pluto-pki and plutoctl that are to be used.
	EnvBin = "PLUTO_BIN"
	// EnvRace, when not empty, has them built with the race detector.
	EnvRace = "PLUTO_RACE"
)

var build struct {
	once sync.Once
	dir  string // to be removed
	bin  *Binaries
	err  error
}

// Build returns the programs: those in $PLUTO_BIN, else they are built once into
// a temporary folder, which [Cleanup] removes.
func Build(ctx context.Context) (*Binaries, error) {
	build.once.Do(func() { build.bin, build.err = buildAll(ctx) })
	return build.bin, build.err
}

// Cleanup removes what Build made.
func Cleanup() error {
	if build.dir == "" {
		return nil
	}
	return os.RemoveAll(build.dir)
}

func buildAll(ctx context.Context) (*Binaries, error) {
	if dir := os.Getenv(EnvBin); dir != "" {
		return binariesIn(dir)
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	if build.dir, err = os.MkdirTemp("", "pluto-bin-"); err != nil {
		return nil, err
	}
	args := []string{"build", "-o", build.dir + string(filepath.Separator)}
	if os.Getenv(EnvRace) != "" {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/pluto", "./cmd/pluto-pki", "./cmd/plutoctl")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build pluto: %w\n%s", err, out)
	}
	return binariesIn(build.dir)
}

func binariesIn(dir string) (*Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b := &Binaries{Pluto: filepath.Join(dir, "pluto"), PKI: filepath.Join(dir, "pluto-pki"), Ctl: filepath.Join(dir, "plutoctl")}
	for _, path := range []string{b.Pluto, b.PKI, b.Ctl} {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Root returns the folder of the module: the nearest with a go.mod above the
// working folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in or above the working folder")
		}
		dir = parent
	}
}
