package crdt

// Numbers of the operation types. They are written to logs: never change one.
const (
	kindAppend        kind = 1
	kindStore         kind = 2
	kindExpunge       kind = 3
	kindMove          kind = 4
	kindReissue       kind = 5
	kindNudge         kind = 6
	kindCreate        kind = 7
	kindDelete        kind = 8
	kindRename        kind = 9
	kindRenameInbox   kind = 10
	kindTouch         kind = 11
	kindSubscribe     kind = 12
	kindSetSpecialUse kind = 13
	kindBindLogin     kind = 14
	kindRenumber      kind = 15
	kindRaiseEpoch    kind = 16
	kindAnnotate      kind = 17
	kindSetHome       kind = 18
)

func (*Append) kind() kind        { return kindAppend }
func (*Store) kind() kind         { return kindStore }
func (*Expunge) kind() kind       { return kindExpunge }
func (*Move) kind() kind          { return kindMove }
func (*Reissue) kind() kind       { return kindReissue }
func (*Nudge) kind() kind         { return kindNudge }
func (*CreateMailbox) kind() kind { return kindCreate }
func (*DeleteMailbox) kind() kind { return kindDelete }
func (*Rename) kind() kind        { return kindRename }
func (*RenameInbox) kind() kind   { return kindRenameInbox }
func (*Touch) kind() kind         { return kindTouch }
func (*Subscribe) kind() kind     { return kindSubscribe }
func (*SetSpecialUse) kind() kind { return kindSetSpecialUse }
func (*BindLogin) kind() kind     { return kindBindLogin }
func (*Renumber) kind() kind      { return kindRenumber }
func (*RaiseEpoch) kind() kind    { return kindRaiseEpoch }
func (*Annotate) kind() kind      { return kindAnnotate }

// newPayload returns an empty payload of a kind, nil if there is no such kind.
func newPayload(k kind) Payload {
	switch k {
	case kindAppend:
		return new(Append)
	case kindStore:
		return new(Store)
	case kindExpunge:
		return new(Expunge)
	case kindMove:
		return new(Move)
	case kindReissue:
		return new(Reissue)
	case kindNudge:
		return new(Nudge)
	case kindCreate:
		return new(CreateMailbox)
	case kindDelete:
		return new(DeleteMailbox)
	case kindRename:
		return new(Rename)
	case kindRenameInbox:
		return new(RenameInbox)
	case kindTouch:
		return new(Touch)
	case kindSubscribe:
		return new(Subscribe)
	case kindSetSpecialUse:
		return new(SetSpecialUse)
	case kindBindLogin:
		return new(BindLogin)
	case kindRenumber:
		return new(Renumber)
	case kindRaiseEpoch:
		return new(RaiseEpoch)
	case kindSetHome:
		return new(SetHome)
	case kindAnnotate:
		return new(Annotate)
	}
	return nil
}
