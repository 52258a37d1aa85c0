# ruff: noqa: E501 - a sentence of a template is one line, so that people can read and compare it.
"""What messages say in each language: words of the tables, and the shipped templates. Courteous, exact, never a blame."""

from dataclasses import dataclass

LANGUAGES = ("en", "fr", "de", "es")


@dataclass(frozen=True)
class Words:
    """The words of tables, buttons and greetings in one language."""

    invoice: str
    order: str
    due: str
    days_late: str
    amount: str
    overdue: str
    not_due: str
    credits: str
    total: str
    no_due_date: str
    without_disputed: str
    without_held: str
    answered: str
    button: str
    salutation: str
    salutation_unknown: str
    regards: str
    nothing: str


WORDS: dict[str, Words] = {
    "en": Words(
        "Invoice", "Your order", "Due", "Days late", "Amount", "Overdue", "Not yet due", "Credits", "Total", "no due date",
        "without the {amount} you dispute", "without the {amount} you have answered for",
        "Not in the total, because you have answered: {numbers}.",
        "See the invoices and answer", "Dear {name},", "Dear Sir or Madam,", "Kind regards,", "No items.",
    ),
    "fr": Words(
        "Facture", "Votre commande", "Échéance", "Jours de retard", "Montant", "Échu", "À échoir", "Avoirs", "Total",
        "sans échéance",
        "sans les {amount} que vous contestez", "sans les {amount} pour lesquels vous avez répondu",
        "Hors total, car vous avez répondu\u00a0: {numbers}.",
        "Voir les factures et répondre", "Bonjour {name},", "Bonjour,", "Cordialement,", "Aucune pièce.",
    ),
    "de": Words(
        "Rechnung", "Ihre Bestellung", "Fällig", "Tage überfällig", "Betrag", "Überfällig", "Noch nicht fällig",
        "Gutschriften", "Summe", "ohne Fälligkeit",
        "ohne die {amount}, die Sie beanstanden", "ohne die {amount}, zu denen Sie geantwortet haben",
        "Nicht in der Summe, weil Sie geantwortet haben: {numbers}.",
        "Rechnungen ansehen und antworten", "Guten Tag {name},", "Guten Tag,", "Freundliche Grüße", "Keine Posten.",
    ),
    "es": Words(
        "Factura", "Su pedido", "Vencimiento", "Días de retraso", "Importe", "Vencido", "No vencido", "Abonos", "Total",
        "sin vencimiento",
        "sin los {amount} que usted discute", "sin los {amount} sobre los que ya ha respondido",
        "Fuera del total, porque ya ha respondido: {numbers}.",
        "Ver las facturas y responder", "Estimado/a {name}:", "Buenos días:", "Un cordial saludo,", "Ninguna partida.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A shipped template in one language."""

    key: str
    language: str
    name: str
    subject: str
    body: str


def _paragraphs(*paragraphs: str) -> str:
    return "\n".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)


SHIPPED: tuple[Text, ...] = (
    Text(
        "pre-due", "en", "Before the due date", "#my_company_name: #items_count coming due, from #oldest_due_date",
        _paragraphs(
            "#contact_salutation",
            "The items below fall due soon. May we ask whether you have received them and whether anything stands against their payment?",
            "#items_list_selected",
            "If something is missing or wrong, tell us now and we settle it before the due date. One click is enough:",
            "#interactive_page_button",
            "If all is well, there is nothing to do. Thank you.",
            "#collector_signature",
        ),
    ),
    Text(
        "pre-due", "fr", "Avant l'échéance", "#my_company_name : #items_count à échoir, dès le #oldest_due_date",
        _paragraphs(
            "#contact_salutation",
            "Les pièces ci-dessous arrivent bientôt à échéance. Pouvez-vous nous confirmer que vous les avez reçues et que rien ne s'oppose à leur règlement ?",
            "#items_list_selected",
            "Si un document manque ou si un point est à corriger, dites-le-nous dès maintenant : nous le réglerons avant l'échéance. Un clic suffit :",
            "#interactive_page_button",
            "Si tout est en ordre, vous n'avez rien à faire. Merci.",
            "#collector_signature",
        ),
    ),
    Text(
        "pre-due", "de", "Vor der Fälligkeit", "#my_company_name: demnächst fällig (#items_count), ab #oldest_due_date",
        _paragraphs(
            "#contact_salutation",
            "die folgenden Posten werden in Kürze fällig. Liegen Ihnen alle Belege vor, und spricht etwas gegen die Zahlung?",
            "#items_list_selected",
            "Falls etwas fehlt oder nicht stimmt, sagen Sie es uns bitte jetzt; wir klären es vor der Fälligkeit. Ein Klick genügt:",
            "#interactive_page_button",
            "Ist alles in Ordnung, brauchen Sie nichts zu tun. Vielen Dank.",
            "#collector_signature",
        ),
    ),
    Text(
        "pre-due", "es", "Antes del vencimiento", "#my_company_name: próximos vencimientos (#items_count), desde el #oldest_due_date",
        _paragraphs(
            "#contact_salutation",
            "Las partidas siguientes vencen en breve. ¿Podría confirmarnos que las ha recibido y que nada impide su pago?",
            "#items_list_selected",
            "Si falta algún documento o algo no es correcto, díganoslo ahora y lo resolveremos antes del vencimiento. Basta un clic:",
            "#interactive_page_button",
            "Si todo está en orden, no tiene que hacer nada. Gracias.",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-1", "en", "Reminder, level 1", "#customer_name: #items_amount_selected overdue",
        _paragraphs(
            "#contact_salutation",
            "According to our books, the items below are past their due date, <b>#items_amount_selected</b> in all. If your payment is already under way, thank you, and please tell us when it left.",
            "#items_list_selected",
            "You can pay, say when you will, or tell us what is in the way:",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-1", "fr", "Relance, niveau 1", "#customer_name : #items_amount_selected échus",
        _paragraphs(
            "#contact_salutation",
            "Sauf erreur de notre part, les pièces ci-dessous sont échues, pour un total de <b>#items_amount_selected</b>. Si votre règlement est déjà parti, merci de nous indiquer sa date.",
            "#items_list_selected",
            "Vous pouvez régler, nous dire quand vous paierez, ou signaler ce qui bloque :",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-1", "de", "Erinnerung, Stufe 1", "#customer_name: #items_amount_selected überfällig",
        _paragraphs(
            "#contact_salutation",
            "nach unseren Unterlagen sind die folgenden Posten überfällig, zusammen <b>#items_amount_selected</b>. Falls Ihre Zahlung schon unterwegs ist, danken wir Ihnen und bitten um das Datum.",
            "#items_list_selected",
            "Sie können zahlen, uns den Zahltag nennen oder sagen, was im Weg steht:",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-1", "es", "Recordatorio, nivel 1", "#customer_name: #items_amount_selected vencidos",
        _paragraphs(
            "#contact_salutation",
            "Según nuestros registros, las partidas siguientes están vencidas, por un total de <b>#items_amount_selected</b>. Si su pago ya está en camino, se lo agradecemos y le rogamos que nos indique la fecha.",
            "#items_list_selected",
            "Puede pagar, decirnos cuándo pagará o indicarnos qué lo impide:",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-2", "en", "Reminder, level 2", "#customer_name: #items_amount_selected open, the oldest for #days_late days",
        _paragraphs(
            "#contact_salutation",
            "We wrote to you before and have not found a payment or an answer yet. <b>#items_amount_selected</b> are open that nothing stands against; the oldest item has been due for #days_late days.",
            "#items_list_selected",
            "Could you include them in your next payment run, or tell us what is in the way? Your answer stops further reminders for these items until we have replied.",
            "#interactive_page_button",
            "May we count on your answer by #today+8?",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-2", "fr", "Relance, niveau 2", "#customer_name : #items_amount_selected en attente, depuis #days_late jours pour la plus ancienne",
        _paragraphs(
            "#contact_salutation",
            "Nous vous avons déjà écrit et n'avons trouvé à ce jour ni règlement ni réponse. <b>#items_amount_selected</b> restent ouverts sans que rien ne s'y oppose ; la pièce la plus ancienne est échue depuis #days_late jours.",
            "#items_list_selected",
            "Pouvez-vous les inclure dans votre prochain règlement, ou nous dire ce qui bloque ? Votre réponse suspend les relances de ces pièces jusqu'à notre retour.",
            "#interactive_page_button",
            "Pouvons-nous compter sur votre réponse d'ici le #today+8 ?",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-2", "de", "Erinnerung, Stufe 2", "#customer_name: #items_amount_selected offen, der älteste Posten seit #days_late Tagen",
        _paragraphs(
            "#contact_salutation",
            "wir haben Ihnen bereits geschrieben und bisher weder eine Zahlung noch eine Antwort gefunden. Offen sind <b>#items_amount_selected</b>, gegen die nichts vorliegt; der älteste Posten ist seit #days_late Tagen fällig.",
            "#items_list_selected",
            "Können Sie die Posten in Ihren nächsten Zahlungslauf aufnehmen oder uns sagen, was im Weg steht? Ihre Antwort setzt Erinnerungen zu diesen Posten aus, bis wir uns gemeldet haben.",
            "#interactive_page_button",
            "Dürfen wir bis zum #today+8 mit Ihrer Antwort rechnen?",
            "#collector_signature",
        ),
    ),
    Text(
        "reminder-2", "es", "Recordatorio, nivel 2", "#customer_name: #items_amount_selected pendientes, la más antigua desde hace #days_late días",
        _paragraphs(
            "#contact_salutation",
            "Le escribimos anteriormente y aún no hemos encontrado ni pago ni respuesta. Quedan abiertos <b>#items_amount_selected</b> a los que nada se opone; la partida más antigua venció hace #days_late días.",
            "#items_list_selected",
            "¿Podría incluirlas en su próximo pago o decirnos qué lo impide? Su respuesta suspende los recordatorios de estas partidas hasta que le contestemos.",
            "#interactive_page_button",
            "¿Podemos contar con su respuesta antes del #today+8?",
            "#collector_signature",
        ),
    ),
    Text(
        "formal-notice", "en", "Formal notice", "Formal notice: #items_amount_selected due by #today+8 (#customer_number)",
        _paragraphs(
            "#contact_salutation",
            "Despite our reminders, <b>#items_amount_selected</b> owed by #customer_name to #my_company_name remain unpaid. The items and their due dates are:",
            "#items_list_selected",
            "We give you formal notice to pay this amount by <b>#today+8</b>. After that date we may claim interest and recovery cost as the law provides, and hand the claim over for recovery without further notice.",
            "If you see any of these items differently, or need another date, tell us now; a person reads every answer:",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
    Text(
        "formal-notice", "fr", "Mise en demeure", "Mise en demeure : #items_amount_selected à régler avant le #today+8 (#customer_number)",
        _paragraphs(
            "#contact_salutation",
            "Malgré nos relances, <b>#items_amount_selected</b> dus par #customer_name à #my_company_name restent impayés. Les pièces et leurs échéances sont les suivantes :",
            "#items_list_selected",
            "Nous vous mettons en demeure de régler cette somme avant le <b>#today+8</b>. Passé cette date, nous pourrons réclamer les intérêts et frais de recouvrement prévus par la loi et confier le dossier au recouvrement sans autre avis.",
            "Si vous contestez l'une de ces pièces ou avez besoin d'une autre date, dites-le-nous maintenant ; chaque réponse est lue :",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
    Text(
        "formal-notice", "de", "Förmliche Mahnung", "Mahnung: #items_amount_selected zahlbar bis #today+8 (#customer_number)",
        _paragraphs(
            "#contact_salutation",
            "trotz unserer Erinnerungen sind <b>#items_amount_selected</b>, die #customer_name der #my_company_name schuldet, noch nicht bezahlt. Die Posten und ihre Fälligkeiten:",
            "#items_list_selected",
            "Wir fordern Sie förmlich auf, diesen Betrag bis zum <b>#today+8</b> zu zahlen. Danach können wir Zinsen und Beitreibungskosten nach dem Gesetz verlangen und die Forderung ohne weitere Ankündigung zur Beitreibung geben.",
            "Wenn Sie einen dieser Posten anders sehen oder ein anderes Datum brauchen, sagen Sie es uns jetzt; jede Antwort wird gelesen:",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
    Text(
        "formal-notice", "es", "Requerimiento de pago", "Requerimiento de pago: #items_amount_selected antes del #today+8 (#customer_number)",
        _paragraphs(
            "#contact_salutation",
            "Pese a nuestros recordatorios, siguen sin pagarse <b>#items_amount_selected</b> que #customer_name debe a #my_company_name. Las partidas y sus vencimientos son:",
            "#items_list_selected",
            "Le requerimos formalmente el pago de este importe antes del <b>#today+8</b>. Después de esa fecha podremos reclamar los intereses y costes de cobro que prevé la ley y encomendar el cobro sin más aviso.",
            "Si no está de acuerdo con alguna partida o necesita otra fecha, díganoslo ahora; leemos todas las respuestas:",
            "#interactive_page_button",
            "#collector_signature",
        ),
    ),
)  # fmt: skip
KEYS = tuple(dict.fromkeys(text.key for text in SHIPPED))
DEFAULT_KEY = "reminder-1"
PRE_DUE_KEY = "pre-due"
