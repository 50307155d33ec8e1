package imaptest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Mode is a way to run the scripts that were written for IMAP4rev1: with an
// extension switched on in every session. What the extension changes in the
// answers is derived from what the script expects, by rules that say the same as the
// extension's specification. The zero Mode is IMAP4rev1.
type Mode struct {
	Name   string
	Enable string // argument of ENABLE, sent first in each session

	// Sync, if it is set, is called before each line that is sent or expected.
	Sync func()
	// Translate, if it is set, returns what the client of a session says instead of a
	// line of the script.
	Translate func(session, text string) string
	// Mask, if it is set, returns a line of the server without what is not compared, of
	// the script and as it comes; uid says that it is during a UID command. A line of
	// which nothing is left is none.
	Mask func(line string, uid bool) string
	// Learn, if it is set, is given what the script has, and what has come to a session
	// instead and is the same but for what is masked.
	Learn func(session, want, got string)

	// expect returns what a line of the script is in this mode, in any number of lines.
	expect func(d *dialogue, line string) []string
	// strip returns a line without what the mode puts into it.
	strip func(want, got string) string
	// added reports whether a line is one that the mode adds to answers.
	added func(got string) bool
}

// dialogue is where a session of a script is.
type dialogue struct {
	tag, command string // the last command, in upper case
	text         string // and its arguments
	expunging    bool   // the last line that was expected was EXPUNGE
}

// sent takes note of a line of the client that may begin a command.
func (d *dialogue) sent(text string) {
	words := strings.Fields(text)
	if len(words) < 2 {
		return
	}
	d.tag, d.command, d.text = words[0], strings.ToUpper(words[1]), strings.ToUpper(text)
	if d.command == "UID" && len(words) > 2 {
		d.command += " " + strings.ToUpper(words[2])
	}
}

// Modes are the ways to run scripts besides that of IMAP4rev1.
var Modes = []Mode{
	{Name: "rev2", Enable: "IMAP4rev2", expect: expectRev2, strip: stripUID, added: addedByRev2},
	{Name: "qresync", Enable: "QRESYNC", expect: expectQResync, strip: stripQResync, added: addedByQResync},
	{
		Name: "rev2-qresync", Enable: "IMAP4rev2 QRESYNC", strip: stripQResync,
		added: func(got string) bool { return addedByRev2(got) || addedByQResync(got) },
		expect: func(d *dialogue, line string) []string {
			var all []string
			for _, line := range expectRev2(d, line) {
				all = append(all, expectQResync(d, line)...)
			}
			return all
		},
	},
}

var (
	recentLine    = regexp.MustCompile(`^\* (\d+|<any>) RECENT$|^\* OK \[UNSEEN `)
	recentStatus  = regexp.MustCompile(`^(\* STATUS .*RECENT )\d+`)
	recentSearch  = regexp.MustCompile(` (RECENT|NEW|OLD)\b`)
	oldNameLine   = regexp.MustCompile(`^\* LIST .* \("OLDNAME" \(.*\)\)$`)
	searchLine    = regexp.MustCompile(`^\* SEARCH((?: \d+)*)(?: \(MODSEQ (\d+)\))?$`)
	mailboxIDLine = regexp.MustCompile(`^\* OK \[MAILBOXID `)
	expungeLine   = regexp.MustCompile(`^\* \d+ EXPUNGE$`)
	uidItem       = regexp.MustCompile(`^(\* \d+ FETCH \()UID \d+ `)
	modSeqItem    = regexp.MustCompile(` MODSEQ \(\d+\)`)
	highestCode   = regexp.MustCompile(`^(\S+ (?:OK|NO) )\[HIGHESTMODSEQ \d+\] `)
	modSeqLine    = regexp.MustCompile(`^\* \d+ FETCH \(UID \d+ (FLAGS \([^)]*\) )?MODSEQ \(\d+\)\)$|^\* OK \[HIGHESTMODSEQ \d+\] Highest$`)
)

// expectRev2: RFC 9051 appendix E, items 4 and 10 to 12.
func expectRev2(d *dialogue, line string) []string {
	switch {
	case recentLine.MatchString(line):
		return nil
	case mailboxIDLine.MatchString(line):
		return []string{line, "* LIST <any>"}
	}
	if m := searchLine.FindStringSubmatch(line); m != nil {
		if recentSearch.MatchString(d.text) {
			return []string{"* ESEARCH <any>"}
		}
		return []string{esearch(d, strings.Fields(m[1]), m[2])}
	}
	line = recentStatus.ReplaceAllString(line, "${1}<any>")
	line = strings.ReplaceAll(line, `\Recent `, "")
	return []string{strings.ReplaceAll(strings.ReplaceAll(line, ` \Recent)`, ")"), `(\Recent)`, "()")}
}

// esearch returns the ESEARCH response that says what a SEARCH response does.
func esearch(d *dialogue, numbers []string, modSeq string) string {
	line := fmt.Sprintf("* ESEARCH (TAG %q)", d.tag)
	if strings.HasPrefix(d.command, "UID ") {
		line += " UID"
	}
	if modSeq != "" {
		line += " MODSEQ " + modSeq
	}
	var set []string
	for i := 0; i < len(numbers); {
		first, _ := strconv.Atoi(numbers[i])
		n := 1
		for i+n < len(numbers) && numbers[i+n] == strconv.Itoa(first+n) {
			n++
		}
		if n == 1 {
			set = append(set, numbers[i])
		} else {
			set = append(set, numbers[i]+":"+numbers[i+n-1])
		}
		i += n
	}
	if set != nil {
		line += " ALL " + strings.Join(set, ",")
	}
	return line
}

// addedByRev2: RFC 9051 section 6.3.9.7, the name of a mailbox named in another form.
func addedByRev2(got string) bool { return oldNameLine.MatchString(got) }

// stripUID: RFC 9051 section 7.5.2, unsolicited FETCH responses have the UID.
func stripUID(want, got string) string {
	if uidItem.MatchString(got) && !uidItem.MatchString(want) {
		return uidItem.ReplaceAllString(got, "$1")
	}
	return got
}

// expectQResync: RFC 7162 section 3.2.10, one VANISHED for several EXPUNGE.
func expectQResync(d *dialogue, line string) []string {
	before := d.expunging
	d.expunging = expungeLine.MatchString(line)
	switch {
	case !d.expunging:
		return []string{line}
	case before:
		return nil
	}
	return []string{"* VANISHED <any>"}
}

// stripQResync: RFC 7162 sections 3.2.4 and 3.2.7.
func stripQResync(want, got string) string {
	got = stripUID(want, got)
	if !strings.Contains(want, "MODSEQ") {
		got = highestCode.ReplaceAllString(got, "$1")
		got = modSeqItem.ReplaceAllString(got, "")
	}
	return got
}

// addedByQResync: what tells MODSEQs alone (RFC 7162 sections 3.1.3 and 6), or after the
// flags were told without.
func addedByQResync(got string) bool { return modSeqLine.MatchString(got) }
