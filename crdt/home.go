package crdt

// An account lives in the subnet whose range its user ID is in, until it is moved
// to another one. Where it lives is a register of the account in every subnet
// that it was ever in, the last writer wins: each of the subnet's replicas can say
// whom to ask, also when whoever moved it is gone.
//
// While it is on its way nobody changes it where it was. When the operation that
// says so is causally stable there, nothing can come any more that anybody did
// without knowing of it: the account is then what it will be, and goes over. Where
// it goes it is on its way too, until all of it is there.

// SetHome says in which subnet the account lives.
type SetHome struct {
	Subnet string
	// Target is the member there that takes it over while it is on its way, when
	// nobody serves it: no other one may, or two would give the same UIDs. It says so
	// there itself before it begins. "": it is there.
	Target string
	// Boxes are, where it has come to, the mailboxes as they were elsewhere:
	// UIDs up to N may be known to clients, and are not given again.
	Boxes []RaisedMailbox
}

// maxSubnet bounds the names of a subnet and of a member, in bytes.
const maxSubnet = 255

// LivesIn reports whether the account is served in a subnet; home says whether
// that is the one whose range it is in.
func (a *Account) LivesIn(subnet string, home bool) bool {
	if a.Home.Time == 0 {
		return home
	}
	return a.Home.Value == subnet && a.Target == ""
}

// Left reports whether the account lives elsewhere than in a subnet, or is on its way.
func (a *Account) Left(subnet string) bool {
	return a.Home.Time != 0 && (a.Home.Value != subnet || a.Target != "")
}

func (*SetHome) kind() kind { return kindSetHome }

func (p *SetHome) encode(w *writer) {
	w.string(p.Subnet)
	w.string(p.Target)
	w.uint(uint64(len(p.Boxes)))
	for i := range p.Boxes {
		b := &p.Boxes[i]
		w.fixed(uint64(b.ID))
		w.uint(uint64(b.N))
		w.uint(uint64(b.C))
	}
}

func (p *SetHome) decode(r *reader) {
	p.Subnet, p.Target = r.string(), r.string()
	p.Boxes = elements[RaisedMailbox](r, 8+2)
	for i := range p.Boxes {
		p.Boxes[i] = RaisedMailbox{MailboxID(r.fixed()), r.uid(), r.uint32()}
	}
}

func (p *SetHome) check(w *work) error {
	if p.Subnet == "" || len(p.Subnet) > maxSubnet || len(p.Target) > maxSubnet {
		return impossible("goes to subnet %q, member %q", p.Subnet, p.Target)
	}
	return (&RaiseEpoch{Epoch: 1, Boxes: p.Boxes}).check(w)
}

// effect raises the mailboxes as a RaiseEpoch does. What is shown there is below
// their horizon then, and new to no session. A MODSEQ of another subnet says nothing
// here: clients are told everything anew, once.
func (p *SetHome) effect(w *work) error {
	for i := range p.Boxes {
		r := &p.Boxes[i]
		b, err := w.box(r.ID)
		if err != nil {
			return err
		}
		w.hear(b, r.N)
		b.H, b.Recent = max(b.H, b.N), max(b.Recent, b.N)
		w.doubt(b)
		if r.C > b.C {
			b.C = r.C
			if err := w.use(b); err != nil {
				return err
			}
		}
	}
	a, err := w.State.Account()
	if err != nil {
		return err
	}
	if !a.Home.Set(w.op.Time, p.Subnet) {
		return nil
	}
	a.Target = p.Target
	return w.State.PutAccount(a)
}
