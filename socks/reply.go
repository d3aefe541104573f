package socks

// Outcome is what becomes of a request, in the numbers of RFC 1928, section 6. Version 4 knows only whether it is granted.
type Outcome byte

// What a client may be told.
const (
	Granted     Outcome = 0
	Failed      Outcome = 1
	NotAllowed  Outcome = 2 // by who decides what may be connected to
	Unreachable Outcome = 4 // the host
	Refused     Outcome = 5 // by the host

	commandUnknown Outcome = 7
	addressUnknown Outcome = 8
)

// Reply is what the client of the request is to be told. Unless it is granted, the connection is to be closed then.
func (r Request) Reply(o Outcome) []byte {
	if r.Version == version4 {
		const granted, rejected = 90, 91
		code := byte(rejected)
		if o == Granted {
			code = granted
		}
		return []byte{0, code, 0, 0, 0, 0, 0, 0} // a client of CONNECT ignores port and address
	}
	return []byte{version5, byte(o), 0, addressIPv4, 0, 0, 0, 0, 0, 0} // where we have connected from isn't known
}
