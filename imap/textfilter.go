package imap

// textFilter spares a search the reading of messages of which an index knows that they do
// not contain a string. The zero value has not asked yet.
type textFilter struct {
	TextFilter      // nil: there is none
	asked      bool // for one
	read       int  // messages read before that
}

// fewTexts is how many messages are read before the index is asked, which has to be
// opened for that.
const fewTexts = 4

func (t *textFilter) close() {
	if t.TextFilter != nil {
		t.Close()
	}
	*t = textFilter{}
}

// passOver reports whether the present message is known not to contain the i-th string
// of the BODY keys, or of the TEXT keys.
func (f *finder) passOver(headers bool, i int) bool {
	if !f.filter.asked {
		if f.filter.read++; f.filter.read <= fewTexts {
			return false
		}
		f.filter.asked = true
		f.filter.TextFilter = f.newFilter()
	}
	if f.filter.TextFilter == nil {
		return false
	}
	if headers {
		i += len(f.bodies)
	}
	return !f.filter.May(&f.scratch, i)
}

func (f *finder) newFilter() TextFilter {
	account, ok := f.account.(TextSearcher)
	if !ok {
		return nil
	}
	strings := make([]TextString, 0, len(f.bodies)+len(f.texts))
	for _, m := range f.bodies {
		strings = append(strings, TextString{Folded: m.Folded()})
	}
	for _, m := range f.texts {
		strings = append(strings, TextString{Folded: m.Folded(), Headers: true})
	}
	return account.TextFilter(f.ctx, strings)
}
