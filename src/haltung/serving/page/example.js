// An article to try the page with. We have made it up: neither the conference nor the cable exists.

export const HEADLINE = "Nordsee-Konferenz ringt um gemeinsames Stromkabel";

export const TEXT = `Die Energieminister von sieben Anrainerstaaten sind am Dienstag in Bergen zu Gesprächen zusammengekommen. Norwegen und Dänemark vereinbarten den Bau eines Seekabels, das in sechs Jahren ans Netz gehen soll.

Deutschland begrüßte das Vorhaben und sagte 400 Millionen Euro zu. Großbritannien lehnte eine Beteiligung dagegen ab. Die belgische Regierung warf London daraufhin vor, jede Zusage seit Monaten zu verschleppen.

Frankreich warnte vor Engpässen im Winter, falls die Leitung nicht rechtzeitig fertig werde. Schweden drohte, seine Stromausfuhren zu drosseln, sollte Brüssel die Preise deckeln. Die EU-Kommission forderte alle Beteiligten auf, bis Ende Mai einen Zeitplan vorzulegen.

Die Niederlande zogen am Abend ihren Einspruch gegen die geplante Trasse zurück. Die Konferenz tagt zum dritten Mal.`;
