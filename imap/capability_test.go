package imap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
)

func TestCapabilitiesHidden(t *testing.T) {
	all := imap.Capabilities(imap.Options{})
	for _, hide := range []string{"move", "APPENDLIMIT", "THREAD=REFERENCES"} {
		shown := imap.Capabilities(imap.Options{Hide: []string{hide}})
		want := slices.DeleteFunc(slices.Clone(all), func(c string) bool {
			name, _, _ := strings.Cut(c, "=")
			return strings.EqualFold(c, hide) || strings.EqualFold(name, hide)
		})
		if len(want) == len(all) || !slices.Equal(shown, want) {
			t.Errorf("without %s: %q", hide, shown)
		}
	}
}
