"""Which Debian font packages serve which script or style; together about 250 MB of downloads."""

from __future__ import annotations


def _fonts(names: str) -> tuple[str, ...]:
    return tuple(f"fonts-{name}" for name in names.split())


WIDE = _fonts("noto-core dejavu-core dejavu-extra freefont-ttf")
LIBERATION = _fonts("liberation noto-mono")

SERIF = _fonts(
    "linuxlibertine ebgaramond oldstandard vollkorn fanwood lindenhill goudybookletter "
    "adf-accanthis adf-baskervald adf-berenis adf-romande adf-tribun crosextra-caladea "
    "junicode sil-charis sil-gentium sil-doulos stix yrsa-rasa essays1743 prociono "
    "quattrocento arapey averia-serif-gwf gfs-didot gfs-artemisia"
)
SANS = _fonts(
    "roboto-unhinted open-sans lato inter cantarell cabin clear-sans crosextra-carlito "
    "dosis karla manrope national-park oxygen play quicksand sora tuffy adf-gillius "
    "adf-switzera adf-universalis adf-verana adf-ikarius b612 tiresias league-spartan "
    "comfortaa jura averia-sans-gwf sil-andika opendyslexic routed-gothic roadgeek allerta "
    "beteckna junction gfs-neohellenic ubuntu-title"
)
MONO = _fonts(
    "courier-prime hack firacode inconsolata jetbrains-mono anonymous-pro agave 3270 "
    "fantasque-sans monofur monoid mononoki league-mono ocr-a ocr-b gnutypewriter"
)
HAND = _fonts(
    "dancingscript kaushanscript kristi lobster lobstertwo leckerli-one femkeklaver "
    "ecolier-court ecolier-lignes-court dkg-handwriting breip rufscript comic-neue "
    "humor-sans sjfonts summersby tomsontalks joscelyn bwht cherrybomb"
)
DISPLAY = _fonts(
    "adf-irianis adf-libris adf-mekanus adf-oldania adf-solothurn arkpandora atarismall "
    "averia-gwf bebas-neue blankenburg cabinsketch century-catalogue dustin engadget "
    "eurofurence f500 fantasma gamaliel georgewilliams go gotico-antiqua isabella "
    "johnsmith-induni klaudia-berenika levien-museum levien-typoscript le-murmure linex "
    "okolaks radisnoir roboto-slab staypuft wine yanone-kaffeesatz lmodern paratype"
)
ODD = _fonts("aenigma")  # 465 faces by one designer, most of them far from book type
LATIN = (*WIDE, *LIBERATION, *SERIF, *SANS, *MONO, *HAND, *DISPLAY)

GREEK = (
    *WIDE, *LIBERATION,
    *_fonts(
    "gfs-artemisia gfs-baskerville gfs-bodoni-classic gfs-complutum gfs-didot "
    "gfs-didot-classic gfs-gazis gfs-neohellenic gfs-olga gfs-porson gfs-solomos "
    "gfs-theokritos linuxlibertine ebgaramond oldstandard roboto-unhinted open-sans lato "
    "inter sil-galatia sil-gentium jetbrains-mono firacode hack stix tuffy "
    "crosextra-carlito anonymous-pro fantasque-sans paratype play comfortaa junicode "
    "mononoki"
),
)  # fmt: skip
CYRILLIC = (
    *WIDE, *LIBERATION,
    *_fonts(
    "paratype linuxlibertine oldstandard roboto-unhinted open-sans lato inter sil-charis "
    "sil-andika sil-gentium sil-doulos jetbrains-mono firacode hack stix tuffy "
    "crosextra-carlito fantasque-sans play comfortaa cantarell vollkorn anonymous-pro "
    "mononoki ebgaramond manrope lobster jura dosis monofur clear-sans adf-verana "
    "league-mono wine"
),
)  # fmt: skip
HEBREW = (*WIDE, "culmus", *_fonts("sil-ezra liberation"))
ARABIC = (
    *WIDE,
    *_fonts(
        "hosny-amiri hosny-thabit arabeyes farsiweb freefarsi kacst kacst-one nafees paktype "
        "unikurdweb lemonada sil-scheherazade sil-lateef sil-harmattan sil-alkalami "
        "sil-awami-nastaliq"
    ),
)
DEVANAGARI = (
    *WIDE,
    *_fonts(
        "lohit-deva lohit-deva-marathi lohit-deva-nepali deva-extra gargi nakula sahadeva sarai "
        "samyak-deva aksharyogini2 sil-annapurna"
    ),
)
BENGALI = (*WIDE, *_fonts("lohit-beng-bengali lohit-beng-assamese beng-extra"))
GURMUKHI = (*WIDE, *_fonts("lohit-guru guru-extra"))
GUJARATI = (*WIDE, *_fonts("lohit-gujr gujr-extra samyak-gujr kalapi yrsa-rasa"))
ORIYA = (*WIDE, *_fonts("lohit-orya orya-extra samyak-orya"))
TAMIL = (*WIDE, *_fonts("lohit-taml lohit-taml-classical samyak-taml meera-inimai taml-tscu taml-tamu"))
TELUGU = (*WIDE, *_fonts("lohit-telu telu-extra teluguvijayam"))
KANNADA = (*WIDE, *_fonts("lohit-knda gubbi navilu"))
MALAYALAM = (
    *WIDE,
    *_fonts(
        "lohit-mlym samyak-mlym smc-anjalioldlipi smc-chilanka smc-dyuthi smc-gayathri "
        "smc-karumbi smc-keraleeyam smc-manjari smc-meera smc-rachana smc-raghumalayalamsans "
        "smc-suruma smc-uroob rit-sundar"
    ),
)
SINHALA = (*WIDE, *_fonts("lklug-sinhala gemunu-libre"))
THAI_TLWG = _fonts(
    "tlwg-garuda-ttf tlwg-kinnari-ttf tlwg-laksaman-ttf tlwg-loma-ttf tlwg-mono-ttf "
    "tlwg-norasi-ttf tlwg-purisa-ttf tlwg-sawasdee-ttf tlwg-typewriter-ttf tlwg-typist-ttf "
    "tlwg-typo-ttf tlwg-umpush-ttf tlwg-waree-ttf"
)
THAI = (*WIDE, *THAI_TLWG, *_fonts("arundina"))
LAO = (*WIDE, *_fonts("lao"))
KHMER = (*WIDE, *_fonts("khmeros sil-mondulkiri"))
MYANMAR = (*WIDE, *_fonts("sil-padauk"))
TIBETAN = (*WIDE, *_fonts("tibetan-machine ddc-uchen dzongkha monlam sambhota-tsugring"))
GEORGIAN = (*WIDE, *_fonts("bpg-georgian"))
ETHIOPIC = (*WIDE, *_fonts("senamirmir-washra sil-abyssinica"))
JAPANESE = _fonts(
    "takao-gothic ipaexfont-gothic ipaexfont-mincho vlgothic umeplus sawarabi-gothic "
    "sawarabi-mincho komatuna konatu dejima-mincho motoya-l-cedar motoya-l-maruberi "
    "aoyagi-kouzan-t dotgothic16 reggae yusei-magic morisawa-bizud-mincho droid-fallback"
)
CHINESE = _fonts(
    "arphic-gbsn00lp arphic-gkai00mp arphic-bsmi00lp arphic-uming wqy-zenhei wqy-microhei cwtex-ming cwtex-heib"
)
KOREAN = _fonts("nanum unfonts-core baekmuk alee wqy-zenhei wqy-microhei droid-fallback")
HAN = (*JAPANESE, *CHINESE, *_fonts("unfonts-core baekmuk"))
MATH = (
    *WIDE,
    *_fonts("stix texgyre-math oflb-asana-math symbola junicode linuxlibertine lmodern fantasque-sans"),
)
ANCIENT = (*WIDE, *_fonts("junicode symbola"))
