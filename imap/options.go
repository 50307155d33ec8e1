package imap

import (
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-pluto/pluto/imap/clientid"
)

// Options are what a session needs to know besides connection and account. The
// zero value is usable.
type Options struct {
	// Tag is the tag of the LOGIN or AUTHENTICATE command that Serve answers
	// first. Empty: nothing is answered.
	Tag string
	// Resume is the session that Serve goes on with, instead of answering a login; nil: a new one.
	Resume *Resume
	// Separator divides the levels of mailbox names: '/' (default) or '.'.
	Separator byte
	// MaxMessageSize is the largest message in bytes that APPEND takes; 0: DefaultMaxMessageSize.
	MaxMessageSize int64
	// Autologout ends a session whose client is silent for so long; 0: DefaultAutologout.
	Autologout time.Duration
	// ProgressEvery is how often the client of a command that takes long is told
	// that it is being worked on (RFC 9585); 0: DefaultProgressEvery.
	ProgressEvery time.Duration
	// Hide are capabilities that this client is not told of, because it is
	// known to stumble over them. What they name works all the same.
	Hide []string
	// Quirks are what is hidden from clients of some names as well.
	Quirks clientid.Quirks
	// Client is what the client said of itself before login: the parameters of ID,
	// as they are in that command (RFC 2971); may be empty.
	Client string
	// Version is what ID answers besides the name; may be empty.
	Version string
	// Logger gets what concerns this session; nil: nothing is logged. The
	// caller has put user, session and remote address into it.
	Logger log.Logger
	// Metrics are shared by all sessions; nil: nothing is counted.
	Metrics *Metrics
	// Now is the clock that ages of messages are measured by (RFC 5032); nil: time.Now.
	Now func() time.Time
}

// DefaultMaxMessageSize is the largest message when Options do not say otherwise.
const DefaultMaxMessageSize = 64 << 20

// withDefaults returns the options with the zero fields filled in.
func (o Options) withDefaults() Options {
	if o.Separator == 0 {
		o.Separator = '/'
	}
	if o.MaxMessageSize <= 0 {
		o.MaxMessageSize = DefaultMaxMessageSize
	}
	if o.Autologout <= 0 {
		o.Autologout = DefaultAutologout
	}
	if o.ProgressEvery <= 0 {
		o.ProgressEvery = DefaultProgressEvery
	}
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// hidden reports whether a capability is not shown to this client.
func (o *Options) hidden(capability string) bool {
	for _, h := range o.Hide {
		if strings.EqualFold(h, capability) {
			return true
		}
	}
	return false
}
