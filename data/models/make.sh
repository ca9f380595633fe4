# make model: train news_de, write its compact form here, score it on each real test, report who is judged how, write its card. The argument is the folder of programs.
set -e
bin=$1
"$bin/haltung" train corpus=news name=news_de seed=1 # one training; the seed was not chosen
"$bin/haltung" export run=news_de-1 to=data/models/news_de form=compact \
    licence='labels and written corpus CC BY 4.0; read in training: 10kGNAD CC BY-NC-SA 4.0, Wikinews CC BY 2.5, speeches of the Bundestag (official records)'
for corpus in gnad10_stance wikinews_stance bundestag_stance challenge; do
    "$bin/haltung" evaluate bundle=news_de corpus=$corpus error_analysis=false
done
for corpus in real_news contrast; do
    "$bin/haltung" prepare corpus=$corpus
done
"$bin/python" experiments/fairness.py data/prepared experiments/reports/fairness
"$bin/python" experiments/model_card.py experiments/reports data/prepared > data/models/news_de/README.md
