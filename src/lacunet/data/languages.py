"""Words of many languages and scripts about scans, as the plain English ones that the rest of the reading knows.

Scripts without spaces are replaced piece by piece, the longest first, spaces between their letters left out; other
languages word by word. Words of languages in Latin letters are not translated; `agent` knows them as they are.
"""

import re
import unicodedata
from functools import cache

_PIECES = (
    (
        "without contrast",
        "造影剤なし 造影剤無し 造影なし 造影無し 造影無 造影せず 非造影 未造影 無造影 无造影剂 无造影 不造影 "
        "没有造影 単純 增强なし 非增强 未增强 无增强 不增强 没有增强 非增強 未增強 無增強 不增強 未强化 非强化 "
        "無顯影 未顯影 无对比剂 無對比劑 未注射 平扫 平掃 未打药 未打藥 조영제없이 조영제없음 조영없이 조영없음 "
        "조영안함 비조영 무조영 비증강 조영제미사용",
    ),
    (
        "before contrast",
        "造影剤前 造影剤投与前 造影剤注入前 造影前 造影剂前 造影劑前 プレ 増強前 增强前 增強前 强化前 对比前 "
        "對比前 顯影前 显影前 显影剂前 顯影劑前 对比剂前 對比劑前 打药前 打藥前 注药前 注射前 给药前 給藥前 "
        "投与前 注入前 조영증강전 조영전 조영제전 조영제주입전 조영제투여전 증강전 주입전 투여전 ก่อนฉีดสี",
    ),
    (
        "after contrast",
        "造影剤後 造影剤投与後 造影剤注入後 造影後 造影后 造影剂后 造影劑後 ポスト 増強後 增强后 增強後 强化后 "
        "对比后 對比後 顯影後 显影后 显影剂后 顯影劑後 对比剂后 對比劑後 打药后 打藥後 注药后 注射后 注射後 "
        "给药后 給藥後 投与後 注入後 조영증강후 조영후 조영제후 조영제주입후 조영제투여후 증강후 주입후 투여후 "
        "หลังฉีดสี",
    ),
    (
        "before and after contrast",
        "造影前後 造影前后 増強前後 增强前后 增強前後 平扫加增强 平扫+增强 平扫增强 単純造影 単純+造影 조영전후",
    ),
    ("with contrast", "造影剤あり 造影剤有り 造影あり 造影有り 造影有"),
    (
        "contrast",
        "造影剤 造影剂 造影劑 造影検査 造影检查 造影撮影 造影撮像 造影扫描 造影 増強 增强扫描 增强检查 对比增强 "
        "對比增強 增强 增強 强化扫描 强化 顯影劑 显影剂 顯影 对比剂 對比劑 조영증강 조영제 조영검사 조영 증강",
    ),
    ("none", "未使用 不使用 미사용 なし 無し 없음 없이 안함"),
    ("with", "使用 사용 あり 有り 있음"),
    ("late", "延迟 延遲 遅延 早期 지연"),
    ("preop", "术前 術前 手术前 手術前 수술전"),
    ("postop", "术后 術后 術後 手术后 手術後 수술후"),
    ("prert", "放疗前 放療前 照射前 방사선전"),
    ("postrt", "放疗后 放療後 照射後 방사선후"),
    ("prechemo", "化疗前 化療前"),
    ("postchemo", "化疗后 化療後"),
    ("sag", "矢状位 矢状断 矢状面 矢状 矢狀 시상면 시상"),
    ("cor", "冠状位 冠状断 冠状面 冠状 冠狀 관상면 관상"),
    ("ax", "横断位 横断面 横断 横轴位 横轴 轴位 軸位断 軸位 轴状 横軸 水平断 축상면 축상 횡단면 횡단 轴"),
    ("flair", "水抑制 压水 抑水 自由水抑制 フレア 플레어"),
    ("fs", "脂肪抑制 抑脂 压脂 壓脂 지방억제"),
    ("dwi", "弥散加权 弥散 扩散 拡散強調 拡散 擴散 확산강조 확산"),
    ("perfusion", "灌注 灌流 관류"),
    ("localizer", "定位像 定位 位置決め 로컬라이저"),
    ("angio", "血管成像 血管 혈관"),
    ("subtraction", "减影 減影 差分 サブトラクション 감산"),
    ("swi", "磁敏感 磁化率強調 磁化率"),
    ("dynamic", "动态 動態 ダイナミック 다이나믹 역동적"),
    ("head", "頭部 头颅 头部 頭 두부"),
    ("brain", "大脑 脑部 脑 脳 뇌"),
    ("mask", "掩膜 掩码 マスク 마스크"),
    ("segmentation", "分割 세그먼트"),
    ("lesion", "病灶 病変 병변"),
    ("tumor", "肿瘤 腫瘍 腫瘤 종양"),
    (
        " ",
        "加权像 加权 加權像 加權 強調画像 強調像 強調 强调 강조영상 강조 画像 图像 像 영상 序列 相 期 検査 检查 "
        "扫描 掃描 撮影 撮像",
    ),
)

_WORDS = (
    ("without", "без бес χωρις ανευ ללא בלי بدون بلا"),
    ("before", "до перед прежде преди пред πριν προ לפני قبل"),
    ("after", "после послi після след следи μετα אחרי לאחר بعد"),
    ("with", "с со із зі з με עם مع با"),
    ("without contrast", "бесконтраст* безконтраст* неконтраст* нативн* натив"),
    ("after contrast", "постконтраст*"),
    ("before contrast", "преконтраст* доконтраст*"),
    ("contrast", "контраст* кв ку гадолин* гадовист магневист омнискан дотарем σκιαγραφικ* γαδολινι* ניגוד גדוליניום"),
    ("contrast", "صبغة الصبغة تباين التباين كنتراست کنتراست حاجب"),
    (
        "administration",
        "в введен* усилен* підсилен* веществ* речовин* препарат* болюс* внутривен* חומר הזרקת مادة ماده",
    ),
    ("and", "и та και و"),
    ("surgery", "операци* операці* хирург*"),
    ("mask", "маск*"),
    ("tumor", "опухол* пухлин*"),
    ("ax", "акс аксиал* аксіал* трансв*"),
    ("sag", "саг сагит* сагіт*"),
    ("cor", "кор корон*"),
    ("flair", "флаир флэир"),
    ("dwi", "диффуз* дифуз* дви"),
    ("perfusion", "перфуз*"),
    ("subtraction", "субтракц* вычитан*"),
    ("localizer", "локалайзер топограмма"),
)
"""Words without accents; with a star, also with other endings."""

_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "oe", "æ": "ae", "œ": "oe", "ł": "l", "ı": "i", "đ": "d", "ð": "d", "þ": "th"}
)
_LOOKS_LATIN = ((re.compile(r"[тτ](?=\s?[12])"), "t"), (re.compile(r"(?<=\+)\s?с\b|\bс(?=[+-])"), "c"))
_UTAN_IN_HUNGARIAN = re.compile(r"\bután\b|(?<=kontraszt )utan\b")
"""After in Hungarian; without its accent, in Swedish, it is "without"."""
_SPACE_BETWEEN_SIGNS = re.compile(
    r"(?<=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])\s+(?=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])"
)


def latin(text: str) -> str:
    """Lower case without accents, `_` as a space, known words of other scripts translated; unknown letters and all
    signs stay."""
    if text.isascii():  # nothing of what follows changes such a text, but for the Hungarian word
        return _UTAN_IN_HUNGARIAN.sub("after", text.lower().replace("_", " "))
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).lower().replace("_", " "))
    text = _SPACE_BETWEEN_SIGNS.sub("", text)
    for piece, words in _pieces():
        if piece in text:
            text = text.replace(piece, f" {words} ")
    for pattern, letter in _LOOKS_LATIN:
        text = pattern.sub(letter, text)
    text = _UTAN_IN_HUNGARIAN.sub("after", text)
    text = re.sub(r"[^\W\d_]+", lambda found: _translated(found[0]), _without_accents(text))
    return text.translate(_LETTERS)


def _without_accents(text: str) -> str:
    letters = (letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", "".join(letters))


@cache
def _pieces() -> list[tuple[str, str]]:
    """Pieces of text with their translation, longest first."""
    pieces = {unicodedata.normalize("NFC", piece): words for words, line in _PIECES for piece in line.split()}
    return sorted(pieces.items(), key=lambda entry: len(entry[0]), reverse=True)


@cache
def _translated(word: str) -> str:
    """A word of an alphabet without accents, in English where it is known."""
    if word.isascii():
        return word
    for words, line in _WORDS:
        for known in line.split():
            stem = _without_accents(known.rstrip("*"))
            if word == stem or (known.endswith("*") and word.startswith(stem)):
                return words
    return word
