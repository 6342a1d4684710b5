"""Whether descriptions in many languages say that contrast agent was given: `after`, `before` (or without), `?` where
they do not tell or contradict themselves."""

import pytest

from lacunet.data.agent import says_agent

CONTRAST = """
T1 造影前 | before
T1 造影後 | after
T1 造影なし | before
T1 造影 | after
T1 増強なし | before
T1 不做增强 | ?
T1 平扫 | before
T1 平扫+增强 | ?
T1 增强前 | before
T1W 增强 | after
T1 조영전 | before
T1 조영 전 | before
T1 조영 후 | after
T1 조영제 없이 | before
T1 до контраста | before
T1_без_контраста | before
T1 после контраста | after
T1 с контрастом | after
T1 с контрастным усилением | after
T1 до введения КВ | before
T1 после введения контрастного вещества | after
T1 до контрастирования | before
Т1 нативное | before
T1 перед введенням контрасту | before
T1 vor KM | before
T1 vor KM-Gabe | before
T1 nach KM-Gabe | after
T1 ohne KM | before
T1 ohne i.v. KM | before
T1 kein KM | before
T1 nativ | before
T1 mit KM | after
T1 vor Kontrastmittelgabe | before
T1 nach Kontrastmittelgabe | after
T1 avant injection | before
T1 avant gado | before
T1 sans injection de gadolinium | before
T1 après injection | after
T1 avec gado | after
T1 non injecté | before
T1 injecté | after
T1 prima del contrasto | before
T1 prima del mdc | before
T1 dopo m.d.c. | after
T1 senza m.d.c. | before
T1 pre mdc | before
T1 antes do contraste | before
T1 após contraste | after
T1 pós-contraste | after
T1 pré-contraste | before
T1 sem contraste | before
T1 com contraste | after
T1 antes de contraste | before
T1 sin civ | before
T1 con civ | after
T1 s/c | before
T1 c/c | after
T1 S/CIV | before
T1 C/CIV | after
T1 poscontraste | after
T1 voor contrast | before
T1 vóór contrast | before
T1 na contrast | after
T1 zonder contrast | before
T1 blanco | before
T1 przed kontrastem | before
T1 przed podaniem kontrastu | before
T1 po kontraście | after
T1 po podaniu kontrastu | after
T1 z kontrastem | after
T1 bez kontrastu | before
T1 +K | after
T1 před kontrastem | before
T1 před KL | before
T1 po KL | after
T1 bez KL | before
T1 s KL | after
T1 före kontrast | before
T1 efter kontrast | after
T1 utan kontrast | before
T1 u/k | before
T1 m/k | after
T1 før kontrast | before
T1 etter kontrast | after
T1 uden kontrast | before
T1 uten kontrast | before
T1 ennen tehostetta | before
T1 ilman tehostetta | before
T1 tehosteen jälkeen | after
T1 tehosteella | after
T1 natiivi | before
T1 kontrast öncesi | before
T1 kontrast sonrası | after
T1 kontrastsız | before
T1 kontrastlı | after
T1 IV kontrast sonrası | after
T1 kontraszt előtt | before
T1 kontraszt után | after
T1 kontraszt nélkül | before
T1 fără contrast | before
T1 cu contrast | after
T1 înainte de contrast | before
T1 după contrast | after
T1 prije kontrasta | before
T1 nakon kontrasta | after
T1 xyz kontrasta | ?
T1 χωρίς σκιαγραφικό | before
T1 μετά σκιαγραφικού | after
T1 ללא חומר ניגוד | before
T1 עם חומר ניגוד | after
T1 بدون صبغة | before
T1 مع صبغة | after
T1 pre-contrast | before
T1 precontrast | before
T1_pre_contrast | before
T1 non contrast | before
T1 non-contrast | before
T1 noncontrast | before
T1 C- | before
T1 -C | before
T1 C+ | after
T1 +C | after
T1+C | after
T1+ | after
T1 + | after
T1 (+C) | after
T1 (-C) | before
T1 C(-) | before
T1 w/o | before
T1 w/o C | before
T1 wo contrast | before
T1 W/O GAD | before
T1 w/ contrast | after
T1 w contrast | after
T1 W/WO | ?
T1 w/wo contrast | ?
T1 with and without contrast | ?
T1 pre and post | ?
T1 pre/post Gd | ?
T1 +/- Gd | ?
T1 post gado | after
T1 GD+ | after
T1 Gd- | before
T1 Gd-DTPA | after
T1 -Gd | before
T1 KM- | before
T1 KM+ | after
T1 CE | after
T1 non-CE | before
T1 contrast: none | before
T1 contrast none | before
T1 no gad | before
T1 no contrast | before
T1 unenhanced | before
T1 contrast enhanced | after
T1 non enhanced | before
T1 nonenhanced | before
T1 pre-op | ?
T1 preop | ?
T1 post-op | ?
T1 postop | ?
T1 posterior fossa | ?
T1 posterior | ?
T1 pre-surgical | ?
T1 post surgery | ?
T1 nach OP | ?
T1 vor OP | ?
T1 post-op Gd | after
T1 Gd post-op | after
T1 post RT | ?
T1 pre and post op | ?
T1 GD pre-op | after
T1 preop no contrast | before
AX T1 POST FS | after
AX T1 PRE FS | before
AX T1 W/O FS | ?
AX T1 FS W/O | before
t1_mprage_sag_p2_iso KM | after
T1 ce-gadolinium | after
sub-01_ce-gd_T1w | after
sub-01_acq-pre_T1w | before
sub-01_acq-preGd_T1w | before
sub-01_desc-preproc_T1w | ?
T1wPost | after
T1PostGd | after
T1Pre | before
ct1 | after
T1C | after
T1ce | after
T1n | before
T1Gd | after
T1 MPRAGE C+ | after
T1_C | after
T1-C | ?
T1 - C | ?
T1 - Gd | after
T1ce_native | after
T1 prescan normalize | ?
T1 pre-processed | ?
T1 plain | before
T1 basale | before
T1 Mustermann KM | ?
T1 contrast pre | before
T1 contrast post | after
T1 Gd pre | before
T1 Gd after | after
T1 before Gd | before
T1 after Gd | after
T1 without | before
T1 with | after
T1 mit FS | ?
T1 ohne FS | ?
T1 with MT | ?
AX BRAVO +C | after
T1 sonra kontrast | after
T1 SAG W CONTRAST | after
+C T1 | after
POST T1 AX | after
T1 tanpa kontras | before
T1 术前 | ?
T1 术后增强 | after
T1 gadavist 7.5 ml | after
T1 SPGR pre gad | before
T1 3D post 5 min | after
T1 KM no 3 | after
T1 sans PDC | before
T1 avec PDC | after
T1 IV- | before
T1 IV+ | after
T1 sans IV | before
T1 (KM) | after
T1 mit/ohne KM | ?
T1 ohne/mit KM | ?
T1 con e senza mdc | ?
T1 sin y con contraste | ?
T1w_without_contrast | before
T1_woC | before
T1_wC | after
T1 noC | before
t1_pre-gd | before
T1-preGd | before
T1preC | before
T1postC | after
T1_Gd_pre | before
AX T1 SE +GAD | after
T1 SE AX (GD) | after
T1 SE cor C+ (Gd) | after
AX T1 no Gd | before
T1W TSE AX +C FS | after
T1 FSE pre/without | before
AX T1 (no contrast) | before
AX T1 contrast-free | before
T1 kontrastmittelfrei | before
T1 KM-frei | before
T1 ohne Kontrast | before
T1 tra nach Gd | after
T1 n. Gd | after
T1 post Kontrast | after
T1 prekontrast | before
T1 natywne | before
T1 po kontrastu | after
T1 pred kontrastem | before
T1 SE ennen varjoainetta | before
T1 varjoaineen jälkeen | after
T1 ilman varjoainetta | before
T1 kontrast öncesi aksiyel | before
T1 KONTRASTSIZ | before
T1 IVKM sonrası | after
T1 kontrast madde sonrası | after
T1 kontrast madde öncesi | before
T1 контраст | after
T1 +контраст | after
T1 до КУ | before
T1 после КУ | after
T1 без КУ | before
T1 с КУ | after
T1 без внутривенного контрастирования | before
T1 трансв. до в/в контраста | before
T1 对比前 | before
T1 对比后 | after
T1 增强后 矢状 | after
T1 平扫 轴位 | before
T1造影前Ax | before
T1(造影後) | after
T1 Gd前 | before
T1 Gd後 | after
Gd造影 T1 | after
造影剤使用 T1 | after
造影剤未使用 T1 | before
T1 조영제 사용 | after
T1 조영제 미사용 | before
T1 senza e con mdc | ?
T1 dopo mdc | after
T1 prima mdc | before
T1 senza contrasto | before
T1 con contrasto | after
T1 sin contraste ev | before
T1 post contraste | after
T1 con gadolinio | after
T1 pre gadolinio | before
T1 sem gadolínio | before
T1 após gadolínio | after
T1 antes gadolínio | before
T1 IV+ gado | after
T1 avant PDC | before
T1 après PDC | after
T1 post-injection | after
T1 Gado- | before
T1 gado + | after
T1 SANS GADO | before
T1 voor KM | before
T1 na KM | after
T1 met KM | after
T1 efter kontrastmedel | after
T1 utan kontrastmedel | before
T1 με σκιαγραφικό | after
T1 πριν σκιαγραφικό | before
T1 sebelum kontras | before
T1 trước tiêm | before
T1 sau tiêm thuốc | after
post OP Kontrolle T1 | ?
T1 prä-OP | ?
T1 postoperativ | ?
T1 præop | ?
T1 pre-treatment | ?
T1 post-treatment Gd | after
T1 post proc | ?
T1 post recon | ?
T1_preproc | ?
T1_post_processed | ?
T1 post ictal | ?
"""

ANSWERS = {"after": True, "before": False, "?": None}


@pytest.mark.parametrize(("text", "agent"), [line.split(" | ") for line in CONTRAST.strip().splitlines()])
def test_words_about_contrast_agent(text: str, agent: str) -> None:
    assert says_agent([text]) is ANSWERS[agent]


@pytest.mark.parametrize(("texts", "agent"), [
    (["T1 pre", "T1 post"], None), (["T1", "T1 post"], True), (["T1 nativ", "T1"], False),
    (["T1 with and without KM"], None), ([], None),
])  # fmt: skip
def test_several_texts_that_contradict_each_other_say_nothing(texts: list[str], agent: bool | None) -> None:
    assert says_agent(texts) is agent
