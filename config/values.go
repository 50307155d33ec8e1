package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

// Units of sizes.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// String returns the size in its largest whole unit, as in "64MiB".
func (s Size) String() string {
	for _, u := range []struct {
		size Size
		name string
	}{{GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,18}) ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?$`)

// ParseSize reads a size: a number with one of the units B, KiB, MiB, GiB, TiB
// (powers of 1024), kB, MB, GB, TB (powers of 1000), or none for bytes.
func ParseSize(s string) (Size, error) {
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New(`not a size; write a number and a unit, as in "64MiB"`)
	}
	units := map[string]int64{
		"": 1, "B": 1,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/units[m[2]] {
		return 0, errors.New("a size that large cannot be meant")
	}
	return Size(n * units[m[2]]), nil
}

// ParseDuration reads a duration as time.ParseDuration does, and whole days as
// in "30d".
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New(`not a duration; write a number and a unit, as in "500ms", "2s", "10m", "12h" or "30d"`)
	}
	return d, nil
}

// checkAddr reports what is wrong with the address of a listener, or of a
// place to connect to, which needs a host.
func checkAddr(s string, needHost bool) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New(`not an address; write host:port, as in "127.0.0.1:20001" or "[::1]:20001"`)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if host == "" {
		if needHost {
			return errors.New("the host is missing; others have to connect to this address")
		}
		return nil
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return checkHostName(host)
	}
	if needHost && ip.IsUnspecified() {
		return fmt.Errorf("others cannot connect to %s; give the address or name under which they reach the node", host)
	}
	return nil
}

var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

func checkHostName(host string) error {
	if len(host) > 253 {
		return errors.New("the host name is longer than 253 characters")
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, l := range labels {
		if !hostLabel.MatchString(l) {
			return fmt.Errorf("%q is neither an IP address nor a host name", host)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q is not an IP address", host)
	}
	return nil
}

const unixPrefix = "unix:"

// checkLMTPAddr accepts host:port and unix:path.
func checkLMTPAddr(s string) error {
	path, ok := strings.CutPrefix(s, unixPrefix)
	if !ok {
		return checkAddr(s, false)
	}
	if path == "" || strings.HasSuffix(path, string(filepath.Separator)) {
		return errors.New(`the path of the socket is missing; write "unix:/run/pluto/lmtp"`)
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// checkName reports why s cannot be the name of a node or subnet: names are
// written into certificates, file names and logs.
func checkName(s string) error {
	if len(s) > maxNameLen {
		return fmt.Errorf("longer than %d characters", maxNameLen)
	}
	if !namePattern.MatchString(s) {
		return errors.New("not a name; use letters, digits, '-', '.' and '_', the first a letter or digit")
	}
	return nil
}
