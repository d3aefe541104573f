package standing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// present is whom a tunnel can ask and tell: somebody who waits for it to come up, or else an askpass program and the log.
type present struct {
	log     *slog.Logger
	askpass func(ctx context.Context, question string, echo bool) (string, error)

	mu     sync.Mutex
	name   string // of the tunnel, for people who wait for several
	person *Person
}

// comes has the person asked and told until gone is called.
func (p *present) comes(name string, person Person) (gone func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.person = name, &person
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.person == &person { // or somebody else has come since
			p.person = nil
		}
	}
}

func (p *present) now() (name string, person *Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name, p.person
}

// ask is client.Config.Ask.
func (p *present) ask(ctx context.Context, question string, echo bool) (string, error) {
	_, person := p.now()
	ask := p.askpass
	if person != nil {
		ask = person.Ask
	}
	if ask == nil {
		return "", errNobody
	}
	text, err := ask(ctx, question, echo)
	if err != nil && person == nil {
		err = fmt.Errorf("%w: culvert up --login asks on your terminal", err)
	}
	return text, err
}

var errNobody = errors.New("there is nobody to ask: culvert up --login asks on your terminal")

// notice is client.Config.Notice.
func (p *present) notice(line string) {
	p.log.Info(line)
	if name, person := p.now(); person != nil && person.Notice != nil {
		person.Notice(name + ": " + line)
	}
}

// oneAtATime returns a Person who isn't asked two things at once.
func (p Person) oneAtATime() Person {
	ask := p.Ask
	if ask == nil {
		return p
	}
	var mu sync.Mutex
	p.Ask = func(ctx context.Context, question string, echo bool) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return ask(ctx, question, echo)
	}
	return p
}
